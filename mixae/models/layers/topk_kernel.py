"""Homologous attention as one Triton kernel: softmax(TopK(q k^T / sqrt(d))) v without its scores.

The plain path writes N x N scores for each head, sorts them, and hands a mask to attention. Here
the scores of a tile of queries against all keys stay in registers: in the forward pass the K-th
largest is found among them by bisection, and the backward pass computes them again. What is kept
for it is, for each query, the log-sum-exp of its kept logits and a threshold that parts kept keys
from dropped ones. ``docs/speed.md`` states the traffic of both paths.

Shape legend: M mixed samples, H heads, N tokens of a mixed sample, d width of a head; in the
kernels Q queries of a tile, K keys of a tile (in the forward pass all of them).
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

WIDTHS = (16, 32, 64, 128)  # of a head
MAX_TOKENS = 1024  # a tile of 16 queries and all keys fits the registers of a block
# Of products in fp32: three on tensor cores, which together round as fp32 does. Plain fp32 products
# of a whole tile leave the registers (ptxas: 15 KB spilled per thread for 200 tokens).
PRECISION = tl.constexpr('ieee' if torch.version.hip else 'tf32x3')


class FusedTopKAttention(torch.autograd.Function):
    """:func:`~mixae.models.layers.homologous_attention.dense_attention` in one kernel.

    Keys at or above a query's K-th largest logit are kept, ties included. Scores, softmax and sums
    are fp32; the weights are rounded to v's type before they meet v, as in the plain path. A query
    with a logit that is nan, or infinite, gets nan. No atomic operation: two runs give equal bits.
    """

    @staticmethod
    def forward(ctx, q_MHNd: Tensor, k_MHNd: Tensor, v_MHNd: Tensor, topk: int) -> Tensor:
        M, H, N, d = q_MHNd.shape
        # As the tokens lie in the next layer, so that putting the heads side by side is free.
        out_MHNd = torch.empty_strided(
            (M, H, N, d), (N * H * d, d, H * d, 1), dtype=v_MHNd.dtype, device=v_MHNd.device
        )
        threshold_MHN = torch.empty(M, H, N, dtype=torch.float32, device=q_MHNd.device)
        lse_MHN = torch.empty_like(threshold_MHN)
        tile = 32 if N <= 256 else 16
        _forward_kernel[(triton.cdiv(N, tile), M * H)](
            *(q_MHNd, *q_MHNd.stride()),
            *(k_MHNd, *k_MHNd.stride()),
            *(v_MHNd, *v_MHNd.stride()),
            *(out_MHNd, *out_MHNd.stride()),
            threshold_MHN,
            lse_MHN,
            *(H, N, topk, d**-0.5),
            d=d,
            TILE_Q=tile,
            TILE_K=max(16, triton.next_power_of_2(N)),
            num_warps=4 if N <= 256 else 8,
        )
        ctx.save_for_backward(q_MHNd, k_MHNd, v_MHNd, out_MHNd, threshold_MHN, lse_MHN)
        return out_MHNd

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_MHNd: Tensor) -> tuple:
        q_MHNd, k_MHNd, v_MHNd, out_MHNd, threshold_MHN, lse_MHN = ctx.saved_tensors
        M, H, N, d = q_MHNd.shape
        # Softmax backward, P (dP - rowsum(P dP)): the row sums are those of the output.
        delta_MHN = (grad_MHNd.float() * out_MHNd.float()).sum(dim=-1)
        grads = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q_MHNd,) * 3]
        tile_q, tile_k = 32, 32
        for kernel, tile in ((_backward_q_kernel, tile_q), (_backward_kv_kernel, tile_k)):
            kernel[(triton.cdiv(N, tile), M * H)](
                *(q_MHNd, *q_MHNd.stride()),
                *(k_MHNd, *k_MHNd.stride()),
                *(v_MHNd, *v_MHNd.stride()),
                *(grad_MHNd, *grad_MHNd.stride()),
                threshold_MHN,
                lse_MHN,
                delta_MHN,
                *grads,
                *(H, N, d**-0.5),
                d=d,
                TILE_Q=tile_q,
                TILE_K=tile_k,
                num_warps=4,
            )
        return *grads, None


@triton.jit
def _tile(x, stride_m, stride_h, stride_n, stride_d, head, H, index_n, N, d: tl.constexpr):
    """Tokens of one head, (len(index_n), d); 0 where there is none."""
    index_d = tl.arange(0, d)
    start = x + (head // H).to(tl.int64) * stride_m + (head % H).to(tl.int64) * stride_h
    where = index_n[:, None] * stride_n + index_d[None, :] * stride_d
    return tl.load(start + where, mask=index_n[:, None] < N, other=0.0)


@triton.jit
def _logits(q_Qd, k_Kd, index_k, N, scale):
    """(Q, K), fp32; -inf where there is no key."""
    logits_QK = tl.dot(q_Qd, tl.trans(k_Kd), input_precision=PRECISION) * scale
    return tl.where(index_k[None, :] < N, logits_QK, float('-inf'))


@triton.jit
def _turn(bits):
    """From a float's bits to an integer of its order, and back.

    Floats are ordered as their bits are if the lower bits of negative ones are turned over.
    """
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _least_kept(logits_QK, is_key_QK, topk):
    """A value for each row that K logits reach, or more where the K-th ties, (Q,).

    By bisection between the row's least and largest logit, which ends as soon as K reach the
    middle: for normal logits after 14 halvings of a tile, where halving the bits took 32. Some 24
    halvings of values are followed by halvings of bits, which end for any values.
    """
    order_QK = _turn(logits_QK.to(tl.int32, bitcast=True))
    high_Q = tl.max(order_QK, axis=1)
    low_Q = tl.min(tl.where(is_key_QK, order_QK, high_Q[:, None]), axis=1)
    halvings = 0
    while tl.max((low_Q < high_Q).to(tl.int32), axis=0) > 0:
        middle_Q = (low_Q | high_Q) - ((low_Q ^ high_Q) >> 1)  # the mean, rounded up
        if halvings < 24:
            lower_Q = _turn(low_Q).to(tl.float32, bitcast=True)
            upper_Q = _turn(high_Q).to(tl.float32, bitcast=True)
            mean_Q = _turn((lower_Q * 0.5 + upper_Q * 0.5).to(tl.int32, bitcast=True))
            middle_Q = tl.minimum(tl.maximum(mean_Q, low_Q + 1), high_Q)
        reach_Q = tl.sum((order_QK >= middle_Q[:, None]).to(tl.int32), axis=1)
        low_Q = tl.where(reach_Q >= topk, middle_Q, low_Q)
        high_Q = tl.where(reach_Q > topk, high_Q, tl.where(reach_Q < topk, middle_Q - 1, middle_Q))
        halvings += 1
    return _turn(low_Q).to(tl.float32, bitcast=True)


@triton.jit
def _forward_kernel(
    q, q_m, q_h, q_n, q_d,
    k, k_m, k_h, k_n, k_d,
    v, v_m, v_h, v_n, v_d,
    out, out_m, out_h, out_n, out_d,
    threshold, lse,
    H, N, topk, scale,
    d: tl.constexpr, TILE_Q: tl.constexpr, TILE_K: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(1)
    index_q = tl.program_id(0) * TILE_Q + tl.arange(0, TILE_Q)
    index_k = tl.arange(0, TILE_K)
    q_Qd = _tile(q, q_m, q_h, q_n, q_d, head, H, index_q, N, d)
    k_Kd = _tile(k, k_m, k_h, k_n, k_d, head, H, index_k, N, d)
    logits_QK = _logits(q_Qd, k_Kd, index_k, N, scale)

    least_Q = _least_kept(logits_QK, index_k[None, :] < N, topk)
    keep_QK = logits_QK >= least_Q[:, None]
    # From the K-th halfway to the largest that is dropped: computed again, by tiles of another
    # shape, a logit may differ in its last bits, and still falls on its side.
    kth_Q = tl.min(tl.where(keep_QK, logits_QK, float('inf')), axis=1)
    dropped_Q = tl.max(tl.where(keep_QK, float('-inf'), logits_QK), axis=1)

    largest_Q = tl.max(logits_QK, axis=1)
    weights_QK = tl.where(keep_QK, tl.exp(logits_QK - largest_Q[:, None]), 0.0)
    sum_Q = tl.sum(weights_QK, axis=1)
    # No comparison keeps a nan, which must not be lost.
    is_nan_Q = tl.max((logits_QK != logits_QK).to(tl.int32), axis=1) > 0
    sum_Q = tl.where(is_nan_Q, float('nan'), sum_Q)
    weights_QK = weights_QK / sum_Q[:, None]
    v_Kd = _tile(v, v_m, v_h, v_n, v_d, head, H, index_k, N, d)
    out_Qd = tl.dot(weights_QK.to(v_Kd.dtype), v_Kd, input_precision=PRECISION)

    is_query_Q = index_q < N
    tl.store(threshold + head * N + index_q, kth_Q * 0.5 + dropped_Q * 0.5, mask=is_query_Q)
    tl.store(lse + head * N + index_q, largest_Q + tl.log(sum_Q), mask=is_query_Q)
    start = out + (head // H).to(tl.int64) * out_m + (head % H).to(tl.int64) * out_h
    where = index_q[:, None] * out_n + tl.arange(0, d)[None, :] * out_d
    tl.store(start + where, out_Qd.to(out.dtype.element_ty), mask=is_query_Q[:, None])


@triton.jit
def _weights(logits_QK, threshold, lse, head, index_q, N):
    """The softmax over the kept keys, (Q, K); 0 in rows without a query."""
    is_query_Q = index_q < N
    threshold_Q = tl.load(threshold + head * N + index_q, mask=is_query_Q, other=float('inf'))
    lse_Q = tl.load(lse + head * N + index_q, mask=is_query_Q, other=0.0)
    keep_QK = (logits_QK > threshold_Q[:, None]) & (logits_QK > float('-inf'))
    return tl.where(keep_QK, tl.exp(logits_QK - lse_Q[:, None]), 0.0)


@triton.jit
def _backward_q_kernel(
    q, q_m, q_h, q_n, q_d,
    k, k_m, k_h, k_n, k_d,
    v, v_m, v_h, v_n, v_d,
    grad, grad_m, grad_h, grad_n, grad_d,
    threshold, lse, delta, grad_q, grad_k, grad_v,
    H, N, scale,
    d: tl.constexpr, TILE_Q: tl.constexpr, TILE_K: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(1)
    index_q = tl.program_id(0) * TILE_Q + tl.arange(0, TILE_Q)
    q_Qd = _tile(q, q_m, q_h, q_n, q_d, head, H, index_q, N, d)
    grad_Qd = _tile(grad, grad_m, grad_h, grad_n, grad_d, head, H, index_q, N, d)
    delta_Q = tl.load(delta + head * N + index_q, mask=index_q < N, other=0.0)
    grad_q_Qd = tl.zeros((TILE_Q, d), dtype=tl.float32)
    for start in range(0, N, TILE_K):
        index_k = start + tl.arange(0, TILE_K)
        k_Kd = _tile(k, k_m, k_h, k_n, k_d, head, H, index_k, N, d)
        v_Kd = _tile(v, v_m, v_h, v_n, v_d, head, H, index_k, N, d)
        logits_QK = _logits(q_Qd, k_Kd, index_k, N, scale)
        weights_QK = _weights(logits_QK, threshold, lse, head, index_q, N)
        dweights_QK = tl.dot(grad_Qd, tl.trans(v_Kd), input_precision=PRECISION)
        dlogits_QK = weights_QK * (dweights_QK - delta_Q[:, None])
        grad_q_Qd += tl.dot(dlogits_QK.to(k_Kd.dtype), k_Kd, input_precision=PRECISION)
    where = head.to(tl.int64) * N * d + index_q[:, None] * d + tl.arange(0, d)[None, :]
    grad_q_Qd = (grad_q_Qd * scale).to(grad_q.dtype.element_ty)
    tl.store(grad_q + where, grad_q_Qd, mask=index_q[:, None] < N)


@triton.jit
def _backward_kv_kernel(
    q, q_m, q_h, q_n, q_d,
    k, k_m, k_h, k_n, k_d,
    v, v_m, v_h, v_n, v_d,
    grad, grad_m, grad_h, grad_n, grad_d,
    threshold, lse, delta, grad_q, grad_k, grad_v,
    H, N, scale,
    d: tl.constexpr, TILE_Q: tl.constexpr, TILE_K: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(1)
    index_k = tl.program_id(0) * TILE_K + tl.arange(0, TILE_K)
    k_Kd = _tile(k, k_m, k_h, k_n, k_d, head, H, index_k, N, d)
    v_Kd = _tile(v, v_m, v_h, v_n, v_d, head, H, index_k, N, d)
    grad_k_Kd = tl.zeros((TILE_K, d), dtype=tl.float32)
    grad_v_Kd = tl.zeros((TILE_K, d), dtype=tl.float32)
    for start in range(0, N, TILE_Q):
        index_q = start + tl.arange(0, TILE_Q)
        q_Qd = _tile(q, q_m, q_h, q_n, q_d, head, H, index_q, N, d)
        grad_Qd = _tile(grad, grad_m, grad_h, grad_n, grad_d, head, H, index_q, N, d)
        delta_Q = tl.load(delta + head * N + index_q, mask=index_q < N, other=0.0)
        logits_QK = _logits(q_Qd, k_Kd, index_k, N, scale)
        weights_QK = _weights(logits_QK, threshold, lse, head, index_q, N)
        weights_KQ = tl.trans(weights_QK.to(v_Kd.dtype))
        grad_v_Kd += tl.dot(weights_KQ, grad_Qd.to(v_Kd.dtype), input_precision=PRECISION)
        dweights_QK = tl.dot(grad_Qd, tl.trans(v_Kd), input_precision=PRECISION)
        dlogits_QK = weights_QK * (dweights_QK - delta_Q[:, None])
        dlogits_KQ = tl.trans(dlogits_QK.to(q_Qd.dtype))
        grad_k_Kd += tl.dot(dlogits_KQ, q_Qd, input_precision=PRECISION)
    where = head.to(tl.int64) * N * d + index_k[:, None] * d + tl.arange(0, d)[None, :]
    is_key_K = index_k[:, None] < N
    tl.store(grad_k + where, (grad_k_Kd * scale).to(grad_k.dtype.element_ty), mask=is_key_K)
    tl.store(grad_v + where, grad_v_Kd.to(grad_v.dtype.element_ty), mask=is_key_K)
