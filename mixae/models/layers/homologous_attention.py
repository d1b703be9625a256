"""Homologous attention of MixedAE (Sec. 3.2): softmax(TopK(q k^T / sqrt(d))) v.

Shape legend: M mixed samples, H heads, G images a group, n tokens an image (class token first),
N = G*n tokens a mixed sample, D width, d = D/H, B = M*G images.
"""

import logging
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

MODES = ('global', 'topk', 'masked')

# np.partition selects with vector instructions, about ten times faster a core than torch.topk
# (benchmarks/README.md), but on one core: with more threads than this torch.topk catches up.
NUMPY_THREADS = 8


class HomologousAttention(nn.Module):
    """Attention over mixed samples with the projections of an encoder layer's own attention.

    It has no parameters: the encoder keeps one set, under one set of names, and is a plain ViT
    wherever this module is not handed to :meth:`MaskedViT.encode`.

    Args:
        groups (int): G, images in a mixed sample.
        mode (str): ``'topk'``, the method: each query and head keeps the K keys with the largest
            logits, in every layer but the first, which gathers information globally.
            ``'global'``: every token sees the whole mixed sample (naive mixing).
            ``'masked'``: an oracle that lets a token see only its own image by the true
            assignment, in every layer; the baseline of the paper.
        topk (int | str): K. Ties with the K-th logit are kept too. Defaults to 'auto': the tokens
            of one image, n **(ours)**.
        fused (bool): Take the fast path: on a GPU the kernel of
            :mod:`~mixae.models.layers.topk_kernel`, or torch's fused attention under the boolean
            mask that TopK gives where that cannot run; on a CPU :class:`TopKAttention`. False is
            the plain dense path, step by step in autograd; all keep the same keys. Defaults to
            True.
        subtract_segment (bool): TopK selects by the logits of tokens without the segment
            embedding; the attention weights stay those of the tokens as they are **(ours)**. It
            costs each layer another projection. Defaults to False.

    Attributes:
        watch (bool): While True, :attr:`accuracy` is filled at each forward pass.
        accuracy (dict[int, Tensor]): TopK sampling accuracy by layer index, 0-dim.
    """

    def __init__(
        self,
        groups: int,
        mode: str = 'topk',
        topk: int | str = 'auto',
        fused: bool = True,
        subtract_segment: bool = False,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(
                f'attention mode {mode!r} is unknown: choose one of {", ".join(MODES)}.'
            )
        if topk != 'auto' and (not isinstance(topk, int) or topk < 1):
            raise ValueError(f"topk={topk!r}: a number of keys from 1, or 'auto'.")
        if subtract_segment and mode != 'topk':
            raise ValueError(
                f"attention.subtract_segment=True goes with mode='topk': {mode!r} selects no keys."
            )
        self.groups = groups
        self.mode = mode
        self.topk = topk
        self.fused = fused
        self.subtract_segment = subtract_segment
        self.watch = False
        self.accuracy: dict[int, Tensor] = {}

    def extra_repr(self) -> str:
        return (
            f'groups={self.groups}, mode={self.mode!r}, topk={self.topk}, fused={self.fused}, '
            f'subtract_segment={self.subtract_segment}'
        )

    def forward(
        self, attn: nn.Module, x_MND: Tensor, layer: int, scored_MND: Tensor | None = None
    ) -> Tensor:
        """Attend within mixed samples.

        Args:
            attn (nn.Module): The layer's ``MultiheadAttention`` of mmpretrain.
            x_MND (Tensor): Normalised tokens of the mixed samples.
            layer (int): The layer's index; 0 stays global in ``topk``.
            scored_MND (Tensor, optional): The tokens by whose logits TopK selects, normalised
                alike. Defaults to None: ``x_MND``.

        Returns:
            Tensor: The layer's attention output, (M, N, D).
        """
        M, N, D = x_MND.shape
        if self.mode == 'global' or (self.mode == 'topk' and layer == 0):
            return attn(x_MND)
        if self.mode == 'masked':
            # Seeing only one's own image is attention over the unmixed sequences.
            return attn(x_MND.reshape(M * self.groups, N // self.groups, D)).reshape(M, N, D)

        q_MHNd, k_MHNd, v_MHNd = project(attn, x_MND)
        topk = N // self.groups if self.topk == 'auto' else min(self.topk, N)
        keep_MHNN = None
        if scored_MND is not None:
            with torch.no_grad():
                keep_MHNN = topk_mask(logits(*project(attn, scored_MND)[:2]), topk)
        if not self.fused:
            out_MHNd, keep_MHNN = dense_attention(q_MHNd, k_MHNd, v_MHNd, topk, keep_MHNN)
        elif keep_MHNN is None and (kernel := kernel_for(q_MHNd)) is not None:
            out_MHNd = kernel(q_MHNd, k_MHNd, v_MHNd, topk)
            if self.watch:
                keep_MHNN = topk_mask(logits(q_MHNd.detach(), k_MHNd.detach()), topk)
        elif x_MND.is_cuda:
            if keep_MHNN is None:
                keep_MHNN = topk_mask(logits(q_MHNd.detach(), k_MHNd.detach()), topk)
            out_MHNd = F.scaled_dot_product_attention(q_MHNd, k_MHNd, v_MHNd, attn_mask=keep_MHNN)
        else:
            out_MHNd, keep_MHNN = _attend_topk(q_MHNd, k_MHNd, v_MHNd, topk, keep_MHNN)
        if self.watch:
            self.accuracy[layer] = topk_accuracy(keep_MHNN, self.groups)
        out_MND = attn.proj(out_MHNd.transpose(1, 2).reshape(M, N, D))
        return attn.out_drop(attn.gamma1(attn.proj_drop(out_MND)))


def project(attn: nn.Module, x_MND: Tensor) -> Tensor:
    """q, k and v of a layer's ``MultiheadAttention``, (3, M, H, N, d)."""
    M, N, _ = x_MND.shape
    qkv = attn.qkv(x_MND).reshape(M, N, 3, attn.num_heads, attn.head_dims)
    return qkv.permute(2, 0, 3, 1, 4)


def logits(q_MHNd: Tensor, k_MHNd: Tensor) -> Tensor:
    """q k^T / sqrt(d) in fp32, so that what TopK keeps does not depend on autocast."""
    with torch.autocast(q_MHNd.device.type, enabled=False):
        scale = q_MHNd.shape[-1] ** -0.5
        return (q_MHNd.float() * scale) @ k_MHNd.float().transpose(-2, -1)


def class_attention(attn: nn.Module, x_BND: Tensor) -> Tensor:
    """Attention of the class token, the first, to all others, by head: (B, H, N - 1)."""
    q_BHNd, k_BHNd, _ = project(attn, x_BND)
    return logits(q_BHNd[:, :, :1], k_BHNd).softmax(dim=-1)[:, :, 0, 1:]


def topk_mask(logits_MHNN: Tensor, topk: int) -> Tensor:
    """Keys that stay, (M, H, N, N) bool: every key at or above the query's K-th largest logit."""
    return logits_MHNN >= kth_largest(logits_MHNN, topk)


@torch.no_grad()
def kth_largest(logits_MHNN: Tensor, topk: int) -> Tensor:
    """Each query's K-th largest logit, (M, H, N, 1)."""
    on_cpu = logits_MHNN.device.type == 'cpu' and torch.get_num_threads() <= NUMPY_THREADS
    if on_cpu and logits_MHNN.dtype == torch.float32 and not torch.compiler.is_compiling():
        kth = logits_MHNN.shape[-1] - topk
        ordered = np.partition(logits_MHNN.detach().numpy(), kth, axis=-1)
        return torch.from_numpy(ordered[..., kth : kth + 1])
    return logits_MHNN.topk(topk, dim=-1, sorted=False).values.amin(dim=-1, keepdim=True)


def kernel_for(q_MHNd: Tensor) -> Callable[..., Tensor] | None:
    """The Triton kernel for such queries; None where it cannot run, as on a CPU."""
    if not q_MHNd.is_cuda:
        return None
    return _tried_kernel(q_MHNd.shape[-2], q_MHNd.shape[-1], q_MHNd.dtype, q_MHNd.device)


@torch.compiler.disable
@cache
def _tried_kernel(
    tokens: int, width: int, dtype: torch.dtype, device: torch.device
) -> Callable[..., Tensor] | None:
    """The kernel, once it has run forward and backward in a size.

    It needs Triton, a C compiler for Triton, a GPU of this decade and a size that fits it; of what
    is missing, it is only then that one hears.
    """
    try:
        # Here, as Triton is for GPUs alone.
        from mixae.models.layers.topk_kernel import MAX_TOKENS, WIDTHS, FusedTopKAttention

        if width not in WIDTHS or tokens > MAX_TOKENS:
            return None
        with torch.enable_grad():
            x_11Nd = torch.zeros(1, 1, tokens, width, dtype=dtype, device=device)
            x_11Nd.requires_grad_()
            FusedTopKAttention.apply(x_11Nd, x_11Nd, x_11Nd, 1).sum().backward()
    except Exception as error:  # of Triton's many kinds
        lines = str(error).strip().splitlines() or [type(error).__name__]
        print_log(
            f'Homologous attention runs without its Triton kernel: {lines[0]}',
            logger='current',
            level=logging.WARNING,
        )
        return None
    return torch.compiler.disable(FusedTopKAttention.apply)


def dense_attention(
    q_MHNd: Tensor, k_MHNd: Tensor, v_MHNd: Tensor, topk: int, keep_MHNN: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """softmax(TopK(q k^T / sqrt(d))) v as it is written, and the keys kept (bool).

    ``keep_MHNN`` says which these are, where they were selected by other logits.
    """
    logits_MHNN = logits(q_MHNd, k_MHNd)
    if keep_MHNN is None:
        keep_MHNN = topk_mask(logits_MHNN.detach(), topk)
    weights_MHNN = logits_MHNN.masked_fill(~keep_MHNN, -torch.inf).softmax(dim=-1)
    return weights_MHNN.to(v_MHNd.dtype) @ v_MHNd, keep_MHNN


class TopKAttention(torch.autograd.Function):
    """:func:`dense_attention` with a backward pass of its own, for speed and memory.

    One fp32 score matrix is worked on in place, and only the weights are kept for the backward
    pass, in v's type: 4 bytes a score in fp32 and 2 in bf16, where autograd keeps 5 and 7.
    """

    @staticmethod
    def forward(
        ctx,
        q_MHNd: Tensor,
        k_MHNd: Tensor,
        v_MHNd: Tensor,
        topk: int,
        keep_MHNN: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        # Slices of qkv are strided; each is read in several batched products.
        q_MHNd, k_MHNd, v_MHNd = (x.contiguous() for x in (q_MHNd, k_MHNd, v_MHNd))
        weights_MHNN = logits(q_MHNd, k_MHNd)
        # The softmax over the kept keys; the largest logit is among them, or is taken out.
        if keep_MHNN is None:
            keep_MHNN = topk_mask(weights_MHNN, topk)
        else:
            weights_MHNN.masked_fill_(~keep_MHNN, -torch.inf)
        weights_MHNN.sub_(weights_MHNN.amax(dim=-1, keepdim=True)).exp_().mul_(keep_MHNN)
        weights_MHNN.div_(weights_MHNN.sum(dim=-1, keepdim=True))
        weights_MHNN = weights_MHNN.to(v_MHNd.dtype)
        with torch.autocast(v_MHNd.device.type, enabled=False):
            out_MHNd = weights_MHNN @ v_MHNd
        ctx.save_for_backward(q_MHNd, k_MHNd, v_MHNd, weights_MHNN)
        ctx.mark_non_differentiable(keep_MHNN)
        return out_MHNd, keep_MHNN

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_MHNd: Tensor, _: Tensor) -> tuple:
        q_MHNd, k_MHNd, v_MHNd, weights_MHNN = ctx.saved_tensors
        scale = q_MHNd.shape[-1] ** -0.5
        # Softmax backward, P (dP - rowsum(P dP)); P is 0 at the keys that were dropped.
        dlogits_MHNN = (grad_MHNd @ v_MHNd.transpose(-2, -1)).mul_(weights_MHNN)
        dlogits_MHNN.addcmul_(weights_MHNN, dlogits_MHNN.sum(dim=-1, keepdim=True), value=-1)
        grad_q_MHNd = (dlogits_MHNN @ k_MHNd).mul_(scale)
        grad_k_MHNd = (dlogits_MHNN.transpose(-2, -1) @ q_MHNd).mul_(scale)
        grad_v_MHNd = weights_MHNN.transpose(-2, -1) @ grad_MHNd
        return grad_q_MHNd, grad_k_MHNd, grad_v_MHNd, None, None


# Compiled code would select by torch.topk, which takes ten times as long as NumPy.
_attend_topk = torch.compiler.disable(TopKAttention.apply)


@torch.no_grad()
def topk_accuracy(keep_MHNN: Tensor, groups: int) -> Tensor:
    """TopK sampling accuracy: the share of kept patch keys that are homologous to their query.

    Self and class tokens are left out of numerator and denominator; chance is then
    :func:`chance_accuracy`.

    Args:
        keep_MHNN (Tensor): Keys kept by each query and head (bool).
        groups (int): G.

    Returns:
        Tensor: A 0-dim tensor in [0, 1]; nan if only self and class tokens were kept.
    """
    N = keep_MHNN.shape[-1]
    index_N = torch.arange(N, device=keep_MHNN.device)
    image_N = index_N // (N // groups)
    is_patch_N = index_N % (N // groups) != 0
    counts_NN = is_patch_N[:, None] & is_patch_N[None, :] & (index_N[:, None] != index_N[None, :])
    homologous_NN = counts_NN & (image_N[:, None] == image_N[None, :])
    kept_NN = keep_MHNN.sum(dim=(0, 1))
    return (kept_NN * homologous_NN).sum() / (kept_NN * counts_NN).sum()


def chance_accuracy(num_patches: int, groups: int) -> float:
    """Accuracy of keys drawn at random: (L/G - 1) / (L - 1)."""
    return (num_patches // groups - 1) / (num_patches - 1)
