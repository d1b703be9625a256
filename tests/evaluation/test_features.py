"""Frozen features against timm's encoder on the same weights."""

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from timm.models.vision_transformer import VisionTransformer
from torch.utils.data import DataLoader

from mixae.datasets import SeededDataset
from mixae.errors import ConfigError
from mixae.evaluation.features import extract_features, pool_tokens
from mixae.registry import MODELS

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            data_preprocessor=dict(
                type='mmpretrain.ClsDataPreprocessor', mean=MEAN, std=STD, to_rgb=True
            ),
            backbone=dict(
                type='mixae.MaskedViT',
                arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=64),
                img_size=32,
                patch_size=8,
                out_type='raw',
            ),
        )
    )
    model.init_weights()
    return model


@pytest.fixture
def dataset(image_folder):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield SeededDataset(
            dict(
                type='CustomDataset',
                data_root=str(image_folder),
                data_prefix='test',
                with_label=True,
                pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
            )
        )


@pytest.mark.parametrize('pool', ['avg', 'std', 'cls'])
def test_features_are_timms_in_the_order_of_the_data(classifier, dataset, pool):
    loader = DataLoader(dataset, batch_size=7, collate_fn=pseudo_collate)
    features, labels = extract_features(classifier.train(), loader, pool)

    timm_vit = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0
    )
    state = {}
    for key, value in classifier.backbone.state_dict().items():
        key = key.replace('patch_embed.projection', 'patch_embed.proj')
        key = key.replace('ffn.layers.0.0', 'mlp.fc1').replace('ffn.layers.1', 'mlp.fc2')
        if key.startswith('layers.'):
            key = key.replace('layers.', 'blocks.', 1).replace('ln', 'norm')
        state[key.replace('ln1.', 'norm.')] = value
    timm_vit.load_state_dict(state)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    expected = []
    with torch.no_grad():
        for i in range(len(dataset)):
            rgb = dataset[i]['inputs'].flip(0).float()
            tokens = timm_vit.eval().forward_features(((rgb - mean) / std)[None])[0]
            expected.append(
                dict(cls=tokens[0], avg=tokens[1:].mean(0), std=tokens[1:].std(0))[pool]
            )
    torch.testing.assert_close(
        torch.from_numpy(features), torch.stack(expected), atol=1e-5, rtol=1e-4
    )
    assert labels.tolist() == [dataset.get_data_info(i)['gt_label'] for i in range(len(dataset))]


def test_unknown_pooling_names_the_choices():
    with pytest.raises(ValueError, match="pool='max' is unknown.*avg, std, cls"):
        pool_tokens(torch.zeros(1, 2, 3), 'max')
    with pytest.raises(ConfigError, match='no class token'):
        pool_tokens(torch.zeros(1, 6, 3), 'cls', prefix=4, has_class_token=False)  # registers
