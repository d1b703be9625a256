"""Homologous attention against a dense reference that loops over queries."""

import pytest
import torch
from torch import nn

from mixae.models import HomologousAttention, MaskedViT
from mixae.models.layers.homologous_attention import (
    chance_accuracy,
    topk_accuracy,
    topk_mask,
)

M, G, n, D, H = 2, 4, 5, 16, 2
N = G * n
PATHS = pytest.mark.parametrize('fused', [True, False], ids=['fused', 'dense'])


@pytest.fixture
def attn():
    torch.manual_seed(0)
    arch = dict(embed_dims=D, num_layers=1, num_heads=H, feedforward_channels=8)
    layer = MaskedViT(arch, img_size=16, patch_size=4).layers[0].attn
    for p in layer.parameters():
        nn.init.normal_(p, std=0.4)
    return layer


@pytest.fixture
def tokens():
    return torch.randn(M, N, D, generator=torch.Generator().manual_seed(1))


def reference(attn, x, keeps):
    """Softmax over the keys that ``keeps(logits of a query, its index)`` lets stay, by loops."""
    qkv = nn.functional.linear(x, attn.qkv.weight, attn.qkv.bias)
    q, k, v = (t.reshape(M, N, H, D // H) for t in qkv.split(D, dim=-1))
    rows = []
    for m in range(M):
        for i in range(N):
            heads = []
            for h in range(H):
                logits = (k[m, :, h] @ q[m, i, h]) / (D // H) ** 0.5
                dropped = ~keeps(logits.detach(), i)
                weights = logits.masked_fill(dropped, float('-inf')).softmax(dim=0)
                heads.append(weights @ v[m, :, h])
            rows.append(torch.cat(heads))
    return nn.functional.linear(
        torch.stack(rows).reshape(M, N, D), attn.proj.weight, attn.proj.bias
    )


def topk_rule(K):
    return lambda logits, i: logits >= logits.sort(descending=True).values[K - 1]


def run(attn, x, function):
    """Output, and the gradients of a fixed projection of it."""
    attn.zero_grad()
    x = x.clone().requires_grad_()
    out = function(x)
    out.mul(torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum().backward()
    return [out.detach(), x.grad, *(p.grad.clone() for p in attn.parameters())]


@PATHS
@pytest.mark.parametrize('K', [1, 3, 'auto', N])
def test_topk_is_the_dense_reference_gradients_too(attn, tokens, K, fused):
    module = HomologousAttention(G, 'topk', K, fused)
    actual = run(attn, tokens, lambda x: module(attn, x, layer=1))
    expected = run(attn, tokens, lambda x: reference(attn, x, topk_rule(n if K == 'auto' else K)))
    assert len(actual) == 6  # the output, and gradients of the tokens, qkv and proj
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@PATHS
def test_topk_of_all_keys_is_global(attn, tokens, fused):
    topk = HomologousAttention(G, 'topk', N, fused)(attn, tokens, layer=1)
    everything = HomologousAttention(G, 'global')(attn, tokens, layer=1)
    torch.testing.assert_close(topk, everything, atol=1e-5, rtol=1e-4)


@PATHS
def test_topk_larger_than_the_mixed_sample_is_global(attn, tokens, fused):
    topk = HomologousAttention(G, 'topk', 10 * N, fused)(attn, tokens, layer=3)
    torch.testing.assert_close(topk, attn(tokens), atol=1e-5, rtol=1e-4)


def test_first_layer_of_topk_stays_global(attn, tokens):
    module = HomologousAttention(G, 'topk', 1)
    assert torch.equal(module(attn, tokens, layer=0), attn(tokens))
    assert not torch.allclose(module(attn, tokens, layer=1), attn(tokens))


@pytest.mark.parametrize('layer', [0, 1])
def test_masked_sees_its_own_image_only_in_every_layer(attn, tokens, layer):
    own = torch.arange(N) // n
    actual = run(attn, tokens, lambda x: HomologousAttention(G, 'masked')(attn, x, layer))
    expected = run(attn, tokens, lambda x: reference(attn, x, lambda _, i: own == own[i]))
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@PATHS
def test_ties_with_the_kth_logit_stay(attn, tokens, fused):
    """Tokens 1, 6 and 11 are one and the same, so their logits tie wherever they rank K-th."""
    tokens[:, 6] = tokens[:, 11] = tokens[:, 1]
    seen = {}

    def rule(logits, i):
        kept = topk_rule(2)(logits.round(decimals=5), i)
        seen[i] = max(seen.get(i, 0), int(kept.sum()))
        return kept

    expected = reference(attn, tokens, rule)
    assert max(seen.values()) > 2  # the case this test is about did come up
    actual = HomologousAttention(G, 'topk', 2, fused)(attn, tokens, layer=1)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


def test_both_paths_keep_ties_alike():
    logits = torch.tensor([[3.0, 1.0, 2.0, 2.0, 2.0, 0.0]])[None, None]
    assert topk_mask(logits, 2).tolist() == [[[[True, False, True, True, True, False]]]]


def test_paths_agree_under_autocast(attn, tokens):
    """What stays is decided in fp32 from the same q and k, whatever the path."""
    with torch.autocast('cpu', torch.bfloat16):
        outs = [HomologousAttention(G, 'topk', 3, f)(attn, tokens, 1) for f in (True, False)]
    torch.testing.assert_close(outs[0].float(), outs[1].float(), atol=5e-2, rtol=5e-2)


def test_accuracy_is_what_a_slow_loop_counts():
    keep = torch.rand(M, H, N, N, generator=torch.Generator().manual_seed(3)) < 0.3
    homologous = counted = 0
    for m in range(M):
        for h in range(H):
            for i in range(N):
                for j in range(N):
                    if not keep[m, h, i, j] or i == j or i % n == 0 or j % n == 0:
                        continue
                    counted += 1
                    homologous += i // n == j // n
    assert topk_accuracy(keep, G).item() == pytest.approx(homologous / counted)


def test_accuracy_of_knowing_everything_and_of_knowing_nothing():
    own = torch.arange(N) // n
    oracle = (own[:, None] == own[None, :]).expand(M, H, N, N)
    assert topk_accuracy(oracle, G).item() == 1
    assert topk_accuracy(~oracle, G).item() == 0
    everything = torch.ones(1, 1, N, N, dtype=torch.bool)
    L = G * (n - 1)
    assert topk_accuracy(everything, G).item() == pytest.approx(chance_accuracy(L, G))
    assert chance_accuracy(L, G) == pytest.approx((L / G - 1) / (L - 1))


def test_accuracy_is_watched_by_layer_on_request(attn, tokens):
    module = HomologousAttention(G, 'topk')
    module(attn, tokens, layer=1)
    assert module.accuracy == {}
    module.watch = True
    for layer in range(3):
        module(attn, tokens, layer)
    assert list(module.accuracy) == [1, 2]  # the first layer samples nothing
    assert 0 <= module.accuracy[1].item() <= 1


def test_it_has_no_parameters_of_its_own():
    assert not list(HomologousAttention(G).parameters())
    assert not HomologousAttention(G).state_dict()


def scores(attn, x):
    """Logits of every query and head, (M, N, H, N), by einsum."""
    qkv = nn.functional.linear(x, attn.qkv.weight, attn.qkv.bias)
    q, k, _ = (t.reshape(M, N, H, D // H) for t in qkv.split(D, dim=-1))
    return torch.einsum('mihd,mjhd->mihj', q, k) / (D // H) ** 0.5


@PATHS
@pytest.mark.parametrize('K', [1, 3, 'auto', N])
def test_topk_by_other_tokens_selects_by_them_and_weights_by_its_own(attn, tokens, K, fused):
    others = torch.randn(M, N, D, generator=torch.Generator().manual_seed(2))
    size = n if K == 'auto' else K
    with torch.no_grad():
        chosen = scores(attn, others).topk(size, dim=-1).indices
        largest = scores(attn, tokens).argmax(dim=-1, keepdim=True)
    keep = torch.zeros(M, N, H, N, dtype=torch.bool).scatter_(-1, chosen, True)
    # The case that a softmax must be safe in: a query's largest logit is not among those kept.
    assert (~keep.gather(-1, largest)).any() == (size < N)
    rows = iter(keep.reshape(-1, N))  # in the order in which the reference asks for them
    module = HomologousAttention(G, 'topk', K, fused, subtract_segment=True)
    actual = run(attn, tokens, lambda x: module(attn, x, 1, others.requires_grad_()))
    expected = run(attn, tokens, lambda x: reference(attn, x, lambda logits, i: next(rows)))
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    assert others.grad is None  # what is selected has no gradient


@PATHS
def test_topk_by_the_same_tokens_is_topk(attn, tokens, fused):
    module = HomologousAttention(G, 'topk', 3, fused)
    actual = run(attn, tokens, lambda x: module(attn, x, 1, x))
    expected = run(attn, tokens, lambda x: module(attn, x, 1))
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b)


@PATHS
def test_kept_keys_far_below_the_largest_logit_have_weights(attn, tokens, fused):
    """exp(logit - the largest of all) would be 0 for every key that is kept."""
    others = torch.randn(M, N, D, generator=torch.Generator().manual_seed(2))
    module = HomologousAttention(G, 'topk', 1, fused, subtract_segment=True)
    out = run(attn, 100 * tokens, lambda x: module(attn, x, 1, others))
    assert all(t.isfinite().all() for t in out) and out[0].abs().max() > 0


def test_unknown_mode_names_the_choices():
    with pytest.raises(ValueError, match="'tpok' is unknown.*global, topk, masked"):
        HomologousAttention(G, 'tpok')


def test_topk_below_one_is_named():
    with pytest.raises(ValueError, match='topk=0'):
        HomologousAttention(G, 'topk', 0)


@pytest.mark.parametrize('mode', ['global', 'masked'])
def test_without_a_selection_there_is_nothing_to_subtract_from(mode):
    with pytest.raises(ValueError, match=f"subtract_segment=True goes with .*'{mode}'"):
        HomologousAttention(G, mode, subtract_segment=True)
