"""The Triton kernel of homologous attention against the plain path.

On a GPU where there is one, else in Triton's interpreter (see tests/conftest.py).
"""

import inspect

import pytest
import torch

from mixae.models import HomologousAttention, MaskedViT
from mixae.models.layers import homologous_attention
from mixae.models.layers.homologous_attention import dense_attention, kernel_for

pytest.importorskip('triton')

from mixae.models.layers.topk_kernel import FusedTopKAttention  # noqa: E402

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
BF16 = pytest.mark.skipif(DEVICE == 'cpu', reason='the interpreter multiplies bfloat16 as uint16')


def _qkv(M, H, N, d, dtype=torch.float32, seed=0):
    """q, k, v as slices of one projection, as they come, and a gradient for the output."""
    generator = torch.Generator().manual_seed(seed)
    qkv = torch.randn(M, N, 3, H, d, generator=generator).to(DEVICE, dtype)
    grad = torch.randn(M, N, H, d, generator=generator).to(DEVICE, dtype).transpose(1, 2)
    return [x.requires_grad_() for x in qkv.permute(2, 0, 3, 1, 4).unbind()], grad


def _compare(shape, topk, dtype=torch.float32, **tolerances):
    inputs, grad = _qkv(*shape, dtype)
    out = FusedTopKAttention.apply(*inputs, topk)
    grads = torch.autograd.grad(out, inputs, grad)
    inputs, _ = _qkv(*shape, dtype)
    expected, keep = dense_attention(*inputs, topk)
    expected_grads = torch.autograd.grad(expected, inputs, grad)
    assert keep.sum(dim=-1).min() == min(topk, shape[2])
    torch.testing.assert_close(out, expected, **tolerances)
    for ours, theirs in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(ours, theirs, **tolerances)


@pytest.mark.parametrize(
    ('shape', 'topk'),
    [
        ((1, 2, 68, 32), 17),  # the demo's
        ((1, 2, 40, 64), 1),
        ((1, 1, 33, 32), 33),  # all keys: plain attention
        ((1, 1, 5, 16), 2),  # fewer tokens than a tile
    ],
)
def test_it_is_the_plain_path(shape, topk):
    _compare(shape, topk, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('dtype', [pytest.param(torch.bfloat16, marks=BF16), torch.float16])
def test_it_is_the_plain_path_in_half_precision(dtype):
    _compare((1, 2, 40, 32), 10, dtype, rtol=2e-2, atol=2e-2)


def test_ties_and_zeros_are_kept_as_in_the_plain_path():
    """Keys that are equal have equal logits, and -0 is no less than 0."""
    (q, k, v), grad = _qkv(1, 1, 16, 16)
    with torch.no_grad():
        k[:, :, 1::2] = k[:, :, ::2]
        k[:, :, 4], k[:, :, 5] = 0.0, -0.0
        q[:, :, 3] = 0.0  # all logits of this query are zero
    out = FusedTopKAttention.apply(q, k, v, 3)
    expected, keep = dense_attention(q, k, v, 3)
    assert keep[0, 0, 3].all() and keep.sum(dim=-1).min() == 4
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(out, (q, k, v), grad),
        torch.autograd.grad(expected, (q, k, v), grad),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('scale', [1e-30, 1e4, 1e30])
def test_bisection_finds_the_kth_of_any_size(scale):
    (q, k, v), _ = _qkv(1, 1, 24, 16, seed=1)
    q, k = q.detach() * scale**0.5, k.detach() * scale**0.5
    out = FusedTopKAttention.apply(q, k, v.detach(), 5)
    torch.testing.assert_close(out, dense_attention(q, k, v, 5)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(DEVICE == 'cpu', reason='needs a GPU')
@pytest.mark.parametrize('shape', [(8, 6, 68, 32), (4, 12, 200, 64), (2, 12, 400, 64)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_the_sizes_of_the_configs(shape, dtype):
    near = dict(rtol=1e-3, atol=1e-4) if dtype == torch.float32 else dict(rtol=3e-2, atol=3e-2)
    _compare(shape, shape[2] // 4, dtype, **near)


def test_two_runs_give_equal_bits():
    inputs, grad = _qkv(1, 2, 40, 16)
    runs = []
    for _ in range(2):
        out = FusedTopKAttention.apply(*inputs, 10)
        runs.append((out, *torch.autograd.grad(out, inputs, grad)))
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
def test_what_is_not_finite_is_not_lost(value):
    """A row of q, or of k, that overflowed: its outputs and gradients are no numbers."""
    for broken, rows in ((0, [3]), (1, list(range(8)))):
        inputs, grad = _qkv(1, 1, 8, 16)
        with torch.no_grad():
            inputs[broken][0, 0, 3, 0] = value
        out = FusedTopKAttention.apply(*inputs, 8)
        expected, _ = dense_attention(*inputs, 8)
        lost = out.isfinite().all(dim=-1)[0, 0]
        if value != value:
            assert [i for i in range(8) if not lost[i]] == rows
        assert not (lost & ~expected.isfinite().all(dim=-1)[0, 0]).any()
        if not lost.all():
            grads = torch.autograd.grad(out, inputs, grad)
            assert not all(g.isfinite().all() for g in grads)


@pytest.fixture
def attn():
    torch.manual_seed(0)
    arch = dict(embed_dims=32, num_layers=1, num_heads=2, feedforward_channels=8)
    return MaskedViT(arch, img_size=16, patch_size=4).layers[0].attn.to(DEVICE)


def test_homologous_attention_takes_it(attn, monkeypatch):
    """Output, gradients and the accuracy that is watched are those of the plain path."""
    taken = []

    def kernel(*inputs):
        taken.append(inputs)
        return FusedTopKAttention.apply(*inputs)

    monkeypatch.setattr(homologous_attention, 'kernel_for', lambda q: kernel)
    x = torch.randn(1, 20, 32, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    found = []
    for fused in (True, False):
        module = HomologousAttention(4, 'topk', 5, fused)
        module.watch = True
        tokens = x.clone().requires_grad_()
        out = module(attn, tokens, 1)
        grads = torch.autograd.grad(out.square().sum(), [tokens, *attn.parameters()])
        found.append([out, *grads, module.accuracy[1]])
    assert len(taken) == 1 and module.accuracy[1] > 0
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
    # Where other tokens select, the mask is given.
    HomologousAttention(4, 'topk', 5)(attn, x, 1, scored_MND=x + 1)
    assert len(taken) == 1


def test_it_is_taken_on_a_gpu_alone(monkeypatch):
    (q, _, _), _ = _qkv(1, 1, 8, 32)
    assert (kernel_for(q) is None) == (DEVICE == 'cpu')
    # What it says where it cannot run, here for want of a GPU, or of a width it has.
    told = []
    monkeypatch.setattr(homologous_attention, 'print_log', lambda text, **_: told.append(text))
    tried = inspect.unwrap(homologous_attention._tried_kernel)
    assert tried(8, 24, torch.float32, torch.device('cpu')) is None and not told
    assert tried(2000, 32, torch.float32, torch.device('cpu')) is None and not told
    assert tried(8, 32, torch.float32, torch.device('mps')) is None
    assert len(told) == 1 and told[0].startswith('Homologous attention runs without its Triton')
