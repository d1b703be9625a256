"""Which patches of an image the encoder sees, as MAE chooses them.

Shape legend: B images, L patches an image, V visible patches an image.
"""

import torch
from torch import Tensor

from mixae.errors import ConfigError


def draw_order(
    batch_size: int,
    num_patches: int,
    device: torch.device | str = 'cpu',
    generator: torch.Generator | None = None,
) -> Tensor:
    """A random order of the patches of every image, (B, L) int64: what every mask is cut from."""
    return torch.rand(batch_size, num_patches, device=device, generator=generator).argsort(dim=1)


def count_visible(num_patches: int, mask_ratio: float) -> int:
    """V, rounded as MAE does.

    Raises:
        ConfigError: A mask ratio outside [0, 1).
    """
    if not 0 <= mask_ratio < 1:
        raise ConfigError(f'mask_ratio={mask_ratio} is outside [0, 1).')
    return int(num_patches * (1 - mask_ratio))


def draw_visible(
    batch_size: int,
    num_patches: int,
    mask_ratio: float,
    device: torch.device | str = 'cpu',
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw the visible patches of every image, ids_visible_BV (int64), at random as MAE does.

    From the same random numbers, those of a higher mask ratio are among those of a lower one.
    """
    V = count_visible(num_patches, mask_ratio)
    return draw_order(batch_size, num_patches, device, generator)[:, :V]


def masks_from_visible(ids_visible_BV: Tensor, num_patches: int) -> tuple[Tensor, Tensor]:
    """MAE's ``mask`` and ``ids_restore`` for given visible patches.

    Returns:
        tuple[Tensor, Tensor]: mask_BL (float, 1 = masked, 0 = visible) and ids_restore_BL (int64):
        for each position its index in [visible tokens, mask tokens], as mmpretrain's decoder
        gathers them. Mask tokens are all alike, so their order among themselves is free.
    """
    B, V = ids_visible_BV.shape
    device = ids_visible_BV.device
    mask_BL = torch.ones(B, num_patches, device=device)
    mask_BL.scatter_(1, ids_visible_BV, 0.0)
    ids_restore_BL = V - 1 + mask_BL.long().cumsum(dim=1)
    ids_restore_BL.scatter_(1, ids_visible_BV, torch.arange(V, device=device).expand(B, V))
    return mask_BL, ids_restore_BL
