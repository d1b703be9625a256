"""Mixing and unmixing of MixedAE (Sec. 3.1) on token sequences.

A mixed sample *is* the visible sequences of its group laid end to end: attention does not care
about the order of tokens, and each carries its position embedding with it. So mixing is a reshape
after MAE's own gather, unmixing the reshape back, and a token's image is its index // n.

Shape legend: B images, G images a group, L patches an image, V = L/G visible patches an image,
n = V + 1 tokens an image (class token first), N = G*n tokens a mixed sample, D width.
"""

import torch
from torch import Tensor

from mixae.models.layers.masking import draw_order


def group_size(mix_ratio: float) -> int:
    """Images in a group, G = 1/r.

    Args:
        mix_ratio (float): The paper's mixing ratio r in (0, 0.5]; 1/r must be an integer.

    Raises:
        ValueError: If r is outside (0, 0.5] or 1/r is not an integer.
    """
    if not 0 < mix_ratio <= 0.5:
        raise ValueError(
            f'mix_ratio={mix_ratio} is outside (0, 0.5]: 0.5 mixes 2 images, 0.25 mixes 4.'
        )
    groups = round(1 / mix_ratio)
    if abs(groups * mix_ratio - 1) > 1e-3:
        raise ValueError(
            f'mix_ratio={mix_ratio}: 1/mix_ratio must be an integer, the number of images in a '
            f'group; the nearest such ratio is {1 / groups:.6g}.'
        )
    return groups


def check_group(batch_size: int, num_patches: int, groups: int) -> None:
    """Raise ValueError unless the group divides the batch and the patches of an image."""
    if batch_size % groups:
        raise ValueError(
            f'A batch of {batch_size} images cannot be cut into groups of {groups} '
            f'(mix_ratio = 1/{groups}): make the batch size of each process a multiple of '
            f'{groups} and keep drop_last=True.'
        )
    if num_patches % groups:
        raise ValueError(
            f'{num_patches} patches an image cannot be shared equally by a group of {groups} '
            f'images (mix_ratio = 1/{groups}): choose an image size, patch size or mix_ratio for '
            f'which {groups} divides the number of patches.'
        )


def complementary_masks(
    batch_size: int, num_patches: int, groups: int, device: torch.device | str = 'cpu'
) -> Tensor:
    """Draw the assignment M of every group, as the visible patches of every image.

    Every group of G consecutive images draws one permutation of the L positions; image g of the
    group owns the g-th L/G of it. So each image gives exactly L/G patches, and the masks of a
    group tile the image.

    Args:
        batch_size (int): B.
        num_patches (int): L.
        groups (int): G.
        device: Where to draw.

    Returns:
        Tensor: ids_visible_BV, the positions each image keeps in the mixed sample (int64).
    """
    check_group(batch_size, num_patches, groups)
    order_ML = draw_order(batch_size // groups, num_patches, device)
    return order_ML.reshape(batch_size, num_patches // groups)


def mix(x_BnD: Tensor, groups: int) -> Tensor:
    """Lay the G visible sequences of each group end to end: (B, n, D) -> (B/G, G*n, D)."""
    B, n, D = x_BnD.shape
    return x_BnD.reshape(B // groups, groups * n, D)


def unmix(x_MND: Tensor, groups: int) -> Tensor:
    """Give each image its tokens back: (B/G, G*n, D) -> (B, n, D)."""
    M, N, D = x_MND.shape
    return x_MND.reshape(M * groups, N // groups, D)
