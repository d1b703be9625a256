"""The patch-wise distillation loss of i-MAE (Sec. 3.1.1, Eq. 5).

Shape legend: B images, n = V + 1 tokens an image (class token first), D encoder width.
"""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mixae.registry import MODELS


@MODELS.register_module()
class PatchDistillationLoss(BaseModule):
    """Mean squared error between a branch's patch tokens and the teacher's, visible patches only.

    Both are taken after the final norm of their encoder; the class token is left out (Eq. 5 is
    patch-wise). Computed in fp32 whatever the autocast.

    Args:
        weight (float): Weight of each branch's term beside its reconstruction loss **(ours: the
            paper gives none)**. Defaults to 1.0.

    Raises:
        ValueError: If ``weight`` is negative.
    """

    def __init__(self, weight: float = 1.0, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if weight < 0:
            raise ValueError(f'weight={weight} of the distillation must not be negative.')
        self.weight = weight

    def forward(self, student_BnD: Tensor, teacher_BnD: Tensor) -> Tensor:
        """The unweighted loss, a 0-dim tensor; no gradient flows to the teacher's tokens."""
        with torch.autocast(student_BnD.device.type, enabled=False):
            return F.mse_loss(student_BnD[:, 1:].float(), teacher_BnD[:, 1:].detach().float())
