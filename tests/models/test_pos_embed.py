"""The position embedding at another grid, however a state comes to be loaded."""

import pytest
import torch
from timm.layers import resample_abs_pos_embed

from mixae.models import MaskedViT

ARCH = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48)


def encoder(img_size):
    vit = MaskedViT(ARCH, img_size=img_size, patch_size=8)
    torch.nn.init.normal_(vit.pos_embed)
    return vit


@pytest.mark.parametrize('size', [16, 48, 64])
def test_a_loaded_state_is_resampled_as_timm_does_it(size):
    trained, other = encoder(32), encoder(size)
    # As resuming, testing and load_from do it; mmpretrain's hook would resample otherwise.
    other.load_state_dict(trained.state_dict())
    expected = resample_abs_pos_embed(
        trained.pos_embed, new_size=[size // 8] * 2, old_size=[4, 4], num_prefix_tokens=1
    )
    torch.testing.assert_close(other.pos_embed, expected, atol=1e-6, rtol=0)


def test_a_loaded_state_of_the_same_grid_is_taken_as_it_is():
    trained, other = encoder(32), encoder(32)
    other.load_state_dict(trained.state_dict())
    assert torch.equal(trained.pos_embed, other.pos_embed)


def test_other_ways_to_resample_are_refused():
    with pytest.raises(ValueError, match="interpolate_mode='bilinear'"):
        MaskedViT(ARCH, img_size=32, patch_size=8, interpolate_mode='bilinear')
