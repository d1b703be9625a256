"""Drawing visible patches, and MAE's masks for given ones."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixae.errors import ConfigError
from mixae.models import MaskedViT
from mixae.models.layers import draw_visible, masks_from_visible


def test_same_seed_draws_maes_mask():
    torch.manual_seed(4)
    ids = draw_visible(6, 16, 0.7)
    torch.manual_seed(4)
    mask = MaskedViT.random_masking(None, torch.zeros(6, 16, 1), 0.7)[1]
    assert torch.equal(masks_from_visible(ids, 16)[0], mask)


def test_visible_patches_of_a_higher_ratio_are_among_those_of_a_lower():
    low, high = (
        draw_visible(5, 16, ratio, generator=torch.Generator().manual_seed(3))
        for ratio in (0.5, 0.75)
    )
    assert low.shape == (5, 8) and high.shape == (5, 4)
    assert all(set(h.tolist()) < set(lo.tolist()) for h, lo in zip(high, low, strict=True))


@pytest.mark.parametrize('ratio', [1.0, -0.2])
def test_impossible_mask_ratio_is_named(ratio):
    with pytest.raises(ConfigError, match=f'mask_ratio={ratio}'):
        draw_visible(2, 16, ratio)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(2, 20), st.integers(0, 2**31), st.data())
def test_ids_restore_gathers_what_the_decoder_expects(B, L, seed, data):
    """[visible, mask tokens] gathered by ids_restore puts each patch back at its position."""
    V = data.draw(st.integers(1, L))
    generator = torch.Generator().manual_seed(seed)
    visible = torch.rand(B, L, generator=generator).argsort(dim=1)[:, :V]
    mask, ids_restore = masks_from_visible(visible, L)
    patches = torch.arange(B * L).reshape(B, L)
    sequence = torch.cat([patches.gather(1, visible), torch.full((B, L - V), -1)], dim=1)
    restored = sequence.gather(1, ids_restore)
    expected = torch.full((B, L), -1)
    for b in range(B):
        for position in visible[b].tolist():
            expected[b, position] = patches[b, position]
    assert torch.equal(restored, expected)
    assert torch.equal(mask == 1, expected == -1)
    assert torch.equal(ids_restore.sort(dim=1).values, torch.arange(L).expand(B, L))
