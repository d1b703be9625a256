"""The homologous contrastive loss against pytorch-metric-learning, and its floor."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import SupConLoss
from torch import nn

from mixae.models.losses import HomologousContrastiveLoss
from mixae.models.losses.homologous_contrastive import supcon_floor, supcon_loss


def simplex(groups, width):
    """G unit vectors whose pairwise cosine is -1/(G-1)."""
    points = torch.eye(groups, width) - torch.eye(groups, width)[:groups].mean(0)
    return nn.functional.normalize(points, dim=1)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3), st.integers(2, 5), st.integers(2, 6), st.floats(0.07, 2), st.integers(0, 999)
)
def test_equals_supcon_of_an_independent_library(M, G, V, temperature, seed):
    z = torch.randn(M, G * V, 7, generator=torch.Generator().manual_seed(seed))
    labels = torch.arange(G).repeat_interleave(V)
    theirs = SupConLoss(temperature=temperature)
    expected = torch.stack([theirs(sample, labels) for sample in z]).mean()
    torch.testing.assert_close(supcon_loss(z, G, temperature), expected, atol=1e-4, rtol=1e-4)


def test_gradient_equals_supcon_of_an_independent_library():
    z = torch.randn(1, 12, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (mine,) = torch.autograd.grad(supcon_loss(z, 3, 0.25), z)
    labels = torch.arange(3).repeat_interleave(4)
    (theirs,) = torch.autograd.grad(SupConLoss(temperature=0.25)(z[0], labels), z)
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_module_projects_then_compares():
    torch.manual_seed(0)
    loss = HomologousContrastiveLoss(in_dim=6, proj_dim=4, temperature=0.5)
    x = torch.randn(2, 8, 6)
    labels = torch.arange(2).repeat_interleave(4)
    z = loss.projector(x)
    expected = torch.stack([SupConLoss(temperature=0.5)(sample, labels) for sample in z]).mean()
    torch.testing.assert_close(loss(x, 2), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('G', [2, 3, 4, 6])
@pytest.mark.parametrize('temperature', [0.1, 0.25, 1.0])
def test_floor_is_reached_by_a_simplex(G, temperature):
    V = 5
    z = simplex(G, 8).repeat_interleave(V, dim=0)[None]
    assert supcon_loss(z, G, temperature).item() == pytest.approx(
        supcon_floor(G * V, G, temperature), abs=1e-5
    )


def test_floor_is_the_formula_of_the_method():
    P, negatives = 48, 147
    expected = math.log(P + negatives * math.exp(-(1 + 1 / 3) / 0.25))
    assert HomologousContrastiveLoss(8).floor(196, 4) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 5), st.integers(2, 5), st.floats(0.1, 2), st.integers(0, 9999), st.floats(0, 3)
)
def test_no_features_undercut_the_floor(G, V, temperature, seed, spread):
    """Features around a simplex: the neighbourhood where a wrong floor would be undercut."""
    noise = torch.randn(1, G * V, 8, generator=torch.Generator().manual_seed(seed))
    z = simplex(G, 8).repeat_interleave(V, dim=0)[None] + spread * noise
    assert supcon_loss(z, G, temperature).item() >= supcon_floor(G * V, G, temperature) - 1e-5


@pytest.mark.parametrize('G', [2, 4])
def test_optimised_features_end_at_the_floor(G):
    z = torch.randn(1, 3 * G, 8, generator=torch.Generator().manual_seed(4), requires_grad=True)
    optimizer = torch.optim.Adam([z], lr=0.05)
    floor = supcon_floor(3 * G, G, 0.5)
    for _ in range(400):
        optimizer.zero_grad()
        loss = supcon_loss(z, G, 0.5)
        assert loss.item() >= floor - 1e-5
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(floor, abs=5e-3)


def test_computed_in_fp32_under_autocast():
    z = torch.randn(1, 8, 4, generator=torch.Generator().manual_seed(0))
    with torch.autocast('cpu', torch.bfloat16):
        low = supcon_loss(z.bfloat16(), 2, 0.1)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, supcon_loss(z.bfloat16().float(), 2, 0.1))


@pytest.mark.parametrize('options', [dict(temperature=0), dict(temperature=-1), dict(weight=-0.1)])
def test_impossible_options_are_named(options):
    (name,) = options
    with pytest.raises(ValueError, match=f'{name}='):
        HomologousContrastiveLoss(4, **options)


def test_one_patch_an_image_has_no_positive():
    with pytest.raises(ValueError, match='2 patches of each image .* got 1'):
        supcon_loss(torch.randn(1, 4, 3), 4, 0.25)
