"""Attention within windows, for a plain ViT on large images (ViTDet, Li et al. 2022, Sec. 3).

Shape legend: B images, H x W the grid of patches, L = H*W, D width, w the window's side in patches,
R x C windows an image, N = R*C*B windows, T = w*w patches a window.
"""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def window_attention(
    attn: nn.Module,
    x_BLD: Tensor,
    grid: tuple[int, int],
    window_size: int,
    recompute: bool = True,
) -> Tensor:
    """An encoder layer's own attention, taken within windows that do not overlap.

    A class of mmpretrain exists (``WindowMSA``) but brings Swin's parameters; this one has none of
    its own, so that a pre-trained encoder loads into it as it is.

    Where the grid is no multiple of the window, ViTDet pads the normalised tokens with zeros at the
    bottom and right, and the zeros take part as keys and values (they are then the biases of
    the projections). The same here, but the padding skips both projections, which makes a grid of
    64x64 with windows of 14 one fifth cheaper **(ours)**. Windows and their attention are made
    again in the backward pass, so that padding and rearranging keep nothing: the layer keeps what
    global attention does **(ours)**.

    Args:
        attn (nn.Module): mmpretrain's ``MultiheadAttention``.
        x_BLD (Tensor): Normalised patch tokens, without a class token, row by row.
        grid (tuple[int, int]): H, W in patches.
        window_size (int): w, in patches.
        recompute (bool): Make the windows again in the backward pass; False where the whole layer
            is. Defaults to True.

    Returns:
        Tensor: The attention's output before the residual addition, (B, L, D).

    Raises:
        ValueError: The tokens are not those of the grid (a class token has no window).
    """
    if x_BLD.shape[1] != grid[0] * grid[1]:
        raise ValueError(
            f'{x_BLD.shape[1]} tokens are not a grid of {grid[0]}x{grid[1]}: attention in windows '
            'takes patch tokens only.'
        )
    dropout = attn.attn_drop if attn.training else 0.0

    def attend(qkv_BLD: Tensor) -> Tensor:
        qkv_NTD = to_windows(qkv_BLD, grid, window_size)
        # The bias is added after padding: padded zeros project to it.
        if attn.qkv.bias is not None:
            qkv_NTD = qkv_NTD + attn.qkv.bias.to(qkv_NTD.dtype)
        N, T, _ = qkv_NTD.shape
        q, k, v = qkv_NTD.view(N, T, 3, attn.num_heads, attn.head_dims).permute(2, 0, 3, 1, 4)
        out_NTD = attn.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        out_NTD = out_NTD.transpose(1, 2).reshape(N, T, attn.embed_dims)
        return from_windows(out_NTD, grid, window_size)

    qkv_BLD = F.linear(x_BLD, attn.qkv.weight)
    if recompute and qkv_BLD.requires_grad:
        out_BLD = checkpoint(attend, qkv_BLD, use_reentrant=False, preserve_rng_state=dropout > 0)
    else:
        out_BLD = attend(qkv_BLD)
    out_BLD = attn.proj(out_BLD)
    # After the windows are joined: drop path drops images, not windows.
    return attn.out_drop(attn.gamma1(attn.proj_drop(out_BLD)))


def to_windows(x_BLD: Tensor, grid: tuple[int, int], window_size: int) -> Tensor:
    """Tokens of a grid as windows, zero-padded at the bottom and right: (N, T, D).

    The windows of an image lie together, row by row.
    """
    (H, W), w = grid, window_size
    B, _, D = x_BLD.shape
    x_BHWD = x_BLD.view(B, H, W, D)
    if H % w or W % w:
        x_BHWD = F.pad(x_BHWD, (0, 0, 0, -W % w, 0, -H % w))
    R, C = x_BHWD.shape[1] // w, x_BHWD.shape[2] // w
    return x_BHWD.view(B, R, w, C, w, D).transpose(2, 3).reshape(B * R * C, w * w, D)


def from_windows(x_NTD: Tensor, grid: tuple[int, int], window_size: int) -> Tensor:
    """The inverse of :func:`to_windows`; padding is cut off: (B, L, D)."""
    (H, W), w = grid, window_size
    R, C, D = -(-H // w), -(-W // w), x_NTD.shape[-1]
    x_BHWD = x_NTD.view(-1, R, C, w, w, D).transpose(2, 3).reshape(-1, R * w, C * w, D)
    return x_BHWD[:, :H, :W].reshape(-1, H * W, D)
