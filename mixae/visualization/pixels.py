"""From what a model takes and predicts to pixels.

Shape legend: B images, L patches an image, p values a patch. Pictures are RGB in [0, 1].
"""

import numpy as np
import torch
from torch import Tensor, nn

GREY = 0.55
# What has to be said below predictions of a normalised target.
NORMALISED = (
    "The target is normalised patch by patch. That is undone with the original patches' mean and "
    'standard deviation: brightness and contrast of each patch are given, its structure is '
    'predicted.'
)


def undo_normalisation(head: nn.Module, pred_BLp: Tensor, images: Tensor) -> Tensor:
    """Take ``MAEPretrainHead``'s target back to pixel values, the inverse of its normalisation.

    Args:
        head (nn.Module): The head; with ``norm_pix=False`` nothing is done.
        pred_BLp (Tensor): Prediction for every patch.
        images (Tensor): The images, (B, 3, H, W), whose patches' mean and variance are used.

    Returns:
        Tensor: (B, L, p), on the scale of ``images``.
    """
    if not head.norm_pix:
        return pred_BLp
    patches_BLp = head.patchify(images)
    mean_BL1 = patches_BLp.mean(dim=-1, keepdim=True)
    std_BL1 = (patches_BLp.var(dim=-1, keepdim=True) + 1e-6) ** 0.5  # the head's own constant
    return pred_BLp * std_BL1 + mean_BL1


def to_rgb(images: Tensor, preprocessor: nn.Module) -> Tensor:
    """Images as a model takes them, (B, C, H, W), as pictures (B, 3, H, W) on the CPU.

    One channel is grey. Of more than three the first three are shown, from two standard deviations
    below their mean to two above it, as their values may be on any scale.
    """
    if images.shape[1] > 3:
        shown = (images[:, :3] + 2) / 4
    else:
        shown = (images * preprocessor.std.to(images) + preprocessor.mean.to(images)) / 255
    if shown.shape[1] < 3:
        shown = shown[:, :1].expand(-1, 3, -1, -1)
    return shown.clamp(0, 1).cpu()


def masked_pixels(head: nn.Module, mask_BL: Tensor) -> Tensor:
    """Where patches are masked: (B, 1, H, W) bool on the CPU."""
    values = head.patch_size**2 * head.in_channels
    return head.unpatchify(mask_BL[:, :, None].repeat(1, 1, values))[:, :1].bool().cpu()


def hide_masked(pictures: Tensor, head: nn.Module, mask_BL: Tensor) -> Tensor:
    """Pictures, (B, 3, H, W), with their masked patches in grey."""
    return torch.where(masked_pixels(head, mask_BL), GREY, pictures)


def for_matplotlib(picture: Tensor) -> np.ndarray:
    """(3, H, W) as (H, W, 3)."""
    return picture.permute(1, 2, 0).numpy()
