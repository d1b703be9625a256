"""Checkpoints that are damaged at random, or on purpose. How it ended is printed (pytest -s)."""

import pytest
import torch

from mixae.models import MaskedViT
from tests.checkpoints.crafted import read_flipped, read_mutated

pytestmark = pytest.mark.slow


@pytest.mark.filterwarnings('ignore')
def test_3000_mutated_pickles_are_read_or_refused(tmp_path):
    outcomes = read_mutated(tmp_path / 'epoch_1.pth', range(3000))
    print(dict(outcomes))
    assert outcomes['refused'] > 1000 and outcomes.total() == 3000


def test_3000_flipped_bits_are_noticed_or_change_nothing(tmp_path):
    vit = MaskedViT(
        dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
        img_size=32,
        patch_size=8,
    )
    optimizer = torch.optim.AdamW(vit.parameters())
    content = dict(
        state_dict={f'backbone.{k}': v for k, v in vit.state_dict().items()},
        meta=dict(epoch=1, iter=3),
        optimizer=optimizer.state_dict(),
        mixae=dict(method='mae', epochs=1),
    )
    outcomes = read_flipped(tmp_path / 'epoch_1.pth', content, range(3000))
    print(dict(outcomes))
    assert outcomes['refused'] > 1000 and outcomes.total() == 3000
