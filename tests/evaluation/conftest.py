"""A small i-MAE, its teacher and data, as configs and checkpoints."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mixae.registry import MODELS

L, D = 16, 12
BACKBONE = dict(
    type='mixae.MaskedViT',
    arch=dict(embed_dims=D, num_layers=1, num_heads=2, feedforward_channels=24),
    img_size=16,
    patch_size=4,
    mask_ratio=0.75,
)
MODEL = dict(
    type='mixae.IMAE',
    backbone=BACKBONE,
    neck=dict(
        type='mmpretrain.MAEPretrainDecoder',
        num_patches=L,
        patch_size=4,
        embed_dim=D,
        decoder_embed_dim=8,
        decoder_depth=1,
        decoder_num_heads=2,
    ),
    head=dict(
        type='mmpretrain.MAEPretrainHead',
        patch_size=4,
        loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2'),
    ),
    mix=dict(beta=1.0),
    disentangle=dict(type='mixae.Disentanglement'),
    distill=dict(type='mixae.PatchDistillationLoss'),
    teacher=dict(checkpoint='not/there.pth'),
)


@pytest.fixture(scope='session')
def models():
    torch.manual_seed(0)
    imae = MODELS.build({**MODEL, 'distill': None, 'teacher': None}).eval()
    teacher = MODELS.build({**BACKBONE, 'frozen': True})
    return imae, teacher


@pytest.fixture(scope='session')
def trained(models, tmp_path_factory):
    """A folder data set, the configs of its pre-training and probe, and three checkpoints."""
    root = tmp_path_factory.mktemp('run')
    rng = np.random.default_rng(0)
    for split, count in (('train', 8), ('test', 5)):
        for label in ('ant', 'bee'):
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
                cv2.imwrite(str(root / split / label / f'{i}.png'), image)
    config = Config.fromfile('configs/mae/vitt_cifar10_2000e.py')
    config.merge_from_dict(
        dict(
            model=dict(
                type='mixae.IMAE',
                backbone={**BACKBONE, '_delete_': True},
                neck=dict(decoder_embed_dim=8, decoder_depth=1, decoder_num_heads=2),
                **{k: MODEL[k] for k in ('mix', 'disentangle', 'distill', 'teacher')},
            )
        )
    )
    data = Config.fromfile('configs/transfer/cifar/cifar10_vitt_knn.py')
    data.model.backbone.update({k: v for k, v in BACKBONE.items() if k != 'mask_ratio'})
    for name in ('train_features', 'test_dataloader'):
        data[name].dataset.dataset.data_root = str(root)
        data[name].num_workers = 0
    imae, teacher = models
    torch.save(dict(state_dict=imae.state_dict()), root / 'imae.pth')
    torch.save(
        dict(state_dict={f'backbone.{k}': v for k, v in teacher.state_dict().items()}),
        root / 'mae.pth',
    )
    return root, config, data
