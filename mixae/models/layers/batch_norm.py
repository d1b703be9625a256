"""A batch norm whose statistics are those of all processes, on any device.

Shape legend: B images of this process, D width.
"""

import torch
from mmengine.dist import is_distributed
from torch import Tensor, nn
from torch.distributed.nn import all_reduce


class GlobalBatchNorm(nn.Module):
    """``BatchNorm1d(affine=False)`` over the batch of all processes.

    torch's ``SyncBatchNorm`` needs a GPU, and plain ones go apart: each process would evaluate
    with statistics of its own, and a resumed run would begin with those of one.

    Args:
        width (int): D.
        eps (float): Defaults to 1e-6, MAE's.
        momentum (float): Of the running statistics. Defaults to 0.1.
    """

    def __init__(self, width: int, eps: float = 1e-6, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.register_buffer('running_mean', torch.zeros(width))
        self.register_buffer('running_var', torch.ones(width))

    def forward(self, x_BD: Tensor) -> Tensor:
        x_BD = x_BD.float()
        mean_D, var_D = self.running_mean, self.running_var
        if self.training:
            count = _sum(x_BD.new_tensor(float(len(x_BD))))
            mean_D = _sum(x_BD.sum(dim=0)) / count
            var_D = _sum((x_BD - mean_D).square().sum(dim=0)) / count
            with torch.no_grad():
                unbiased_D = var_D * count / (count - 1).clamp(min=1)
                self.running_mean.lerp_(mean_D, self.momentum)
                self.running_var.lerp_(unbiased_D, self.momentum)
        return (x_BD - mean_D) * (var_D + self.eps).rsqrt()


def _sum(x: Tensor) -> Tensor:
    """Over the processes, with a gradient."""
    return all_reduce(x) if is_distributed() else x
