"""DINOv2's linear segmentation head."""

import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

CONFIG = dict(type='mixae.BatchNormHead', num_classes=5, dropout_ratio=0, norm_cfg=dict(type='BN'))


def head(**options):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build({**CONFIG, **options})


@pytest.mark.parametrize(
    'options, maps',
    [
        (dict(in_channels=6, channels=6, in_index=1), slice(1, 2)),
        (
            dict(
                in_channels=[6, 6],
                channels=12,
                in_index=[0, 1],
                input_transform='resize_concat',
            ),
            slice(0, 2),
        ),
    ],
)
def test_it_is_a_batch_norm_and_a_linear_map_of_each_position(options, maps):
    torch.manual_seed(0)
    module = head(**options).train()
    inputs = tuple(3 + 2 * torch.randn(2, 6, 4, 5) for _ in range(2))
    x = torch.cat(inputs[maps], 1).permute(0, 2, 3, 1).flatten(0, 2)  # positions x channels
    normed = (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()
    expected = normed @ module.conv_seg.weight[:, :, 0, 0].T + module.conv_seg.bias
    logits = module(inputs).permute(0, 2, 3, 1).flatten(0, 2)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)


def test_channels_that_no_layer_maps_to_are_refused():
    with pytest.raises(ValueError, match='channels=4: no layer lies between the 6 input channels'):
        head(in_channels=6, channels=4, in_index=0)
