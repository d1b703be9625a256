"""Mixing and unmixing: what every assignment must give, for any group, batch and image size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixae.models import MaskedViT
from mixae.models.layers import (
    complementary_masks,
    group_size,
    masks_from_visible,
    mix,
    unmix,
)
from mixae.models.layers.mixing import check_group

shapes = st.tuples(
    st.integers(2, 6), st.integers(1, 4), st.integers(1, 9), st.integers(0, 2**31)
)  # G, mixed samples, patches of each image, seed


@settings(max_examples=40, deadline=None)
@given(shapes)
def test_masks_of_a_group_tile_the_image(shape):
    G, M, V, seed = shape
    torch.manual_seed(seed)
    visible = complementary_masks(M * G, G * V, G)
    assert visible.shape == (M * G, V)
    tiles = visible.reshape(M, G * V).sort(dim=1).values
    assert torch.equal(tiles, torch.arange(G * V).expand(M, -1))
    mask, _ = masks_from_visible(visible, G * V)
    assert torch.equal((1 - mask).reshape(M, G, -1).sum(dim=1), torch.ones(M, G * V))
    assert torch.equal((1 - mask).sum(dim=1), torch.full((M * G,), float(V)))


@settings(max_examples=25, deadline=None)
@given(shapes)
def test_unmix_undoes_mix(shape):
    G, M, V, seed = shape
    tokens = torch.randn(M * G, V + 1, 3, generator=torch.Generator().manual_seed(seed))
    mixed = mix(tokens, G)
    assert mixed.shape == (M, G * (V + 1), 3)
    assert torch.equal(unmix(mixed, G), tokens)


def test_a_mixed_sample_is_the_mixed_image():
    """Mixing pixels by M and embedding that picture gives the tokens of mixed sequences."""
    G, M, patch, side = 4, 2, 4, 4
    arch = dict(embed_dims=8, num_layers=1, num_heads=1, feedforward_channels=8)
    vit = MaskedViT(arch, img_size=patch * side, patch_size=patch)
    vit.init_weights()
    x = torch.randn(G * M, 3, patch * side, patch * side)
    visible = complementary_masks(G * M, side**2, G)
    mixed_images = torch.empty(M, *x.shape[1:])
    for b in range(G * M):
        for position in visible[b].tolist():
            row, column = (patch * k for k in divmod(position, side))
            window = (slice(None), slice(row, row + patch), slice(column, column + patch))
            mixed_images[b // G][window] = x[b][window]
    expected = vit.patch_embed(mixed_images)[0] + vit.pos_embed[:, 1:]
    tokens = vit.embed_visible(x, visible)[:, 1:]  # class tokens aside
    actual = torch.empty_like(expected)
    actual.scatter_(1, visible.reshape(M, -1, 1).expand(-1, -1, 8), mix(tokens, G).detach())
    torch.testing.assert_close(actual, expected)


def test_every_assignment_can_be_drawn():
    torch.manual_seed(0)
    drawn = {tuple(complementary_masks(2, 4, 2)[0].sort().values.tolist()) for _ in range(200)}
    assert len(drawn) == 6  # 4 choose 2


@pytest.mark.parametrize('ratio, groups', [(0.5, 2), (0.25, 4), (1 / 3, 3), (0.2, 5), (0.125, 8)])
def test_group_size_is_the_reciprocal(ratio, groups):
    assert group_size(ratio) == groups


@pytest.mark.parametrize('ratio', [0, -0.25, 0.6, 1.0, 0.3, 0.4])
def test_impossible_mix_ratio_is_named(ratio):
    with pytest.raises(ValueError, match=f'mix_ratio={ratio}'):
        group_size(ratio)


def test_batch_that_the_group_does_not_divide_names_both():
    with pytest.raises(ValueError, match='batch of 10 images .* groups of 4'):
        complementary_masks(10, 16, 4)


def test_patches_that_the_group_does_not_divide_names_both():
    with pytest.raises(ValueError, match='49 patches .* group of 4'):
        check_group(8, 49, 4)
