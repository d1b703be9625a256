"""The optimiser: mixed precision on any device, and AdamW in one kernel."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.optim import BaseOptimWrapper, OptimWrapper
from torch import nn
from torch.optim import AdamW

from mixae.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """Autocast to bfloat16 on CPU and GPU.

    mmengine's ``AmpOptimWrapper`` asserts a GPU and defaults to fp16, whose range MAE-style losses
    are known to leave after many epochs. bfloat16 has fp32's range and needs no loss scaling. A CPU
    without instructions for it is many times slower in it than in fp32: there it is fp32, and one
    line says so.

    Args:
        dtype (str): 'bfloat16' ('float16' is mmengine's own wrapper's). Defaults to 'bfloat16'.
        **kwargs: Of ``OptimWrapper``: optimizer, clip_grad, accumulative_counts.
    """

    def __init__(self, dtype: str = 'bfloat16', **kwargs) -> None:
        if dtype != 'bfloat16':
            raise ValueError(
                f"mixae.AmpOptimWrapper computes in 'bfloat16', got dtype={dtype!r}. For float16 "
                "with loss scaling on a GPU choose mmengine's type='AmpOptimWrapper'."
            )
        super().__init__(**kwargs)
        self.device_type = get_device().split(':')[0]
        self.enabled = self.device_type != 'cpu' or cpu_has_bfloat16()
        if not self.enabled:
            MMLogger.get_current_instance().info(
                'This CPU has no instructions for bfloat16: the run is in float32.'
            )

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with (
            super().optim_context(model),
            torch.autocast(self.device_type, torch.bfloat16, enabled=self.enabled),
        ):
            yield


def cpu_has_bfloat16() -> bool:
    """Whether oneDNN has fast bfloat16 here (AVX-512 or AMX); without it torch emulates it."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def fuse(wrapper: BaseOptimWrapper) -> None:
    """Let AdamW take its step in one kernel, where nothing else was asked for.

    Not with a loss scaler, whose skipped steps :class:`~mixae.engine.hooks.FiniteHook` counts as
    they are not taken. A resumed run steps as its checkpoint says: bits stay.
    """
    optimizer = getattr(wrapper, 'optimizer', None)
    if type(optimizer) is not AdamW or getattr(wrapper, 'loss_scaler', None) is not None:
        return
    unset = dict(fused=None, foreach=None, capturable=False, differentiable=False)
    if any(g[name] != value for g in optimizer.param_groups for name, value in unset.items()):
        return
    for group in (optimizer.defaults, *optimizer.param_groups):
        group['fused'] = True
