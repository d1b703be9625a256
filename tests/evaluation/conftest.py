"""A small i-MAE, its teacher and data, as configs and checkpoints."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mixae.derive import derive
from mixae.registry import MODELS

ARCH = dict(embed_dims=12, num_layers=1, num_heads=2, feedforward_channels=24)
SIZES = dict(arch=ARCH, img_size=16, patch_size=4)


@pytest.fixture(scope='session')
def imae_config():
    config = Config.fromfile('configs/imae/vitt_cifar10_2000e.py')
    config.model.backbone.update(SIZES)
    config.model.neck.update(decoder_embed_dim=8, decoder_depth=1, decoder_num_heads=2)
    return config


@pytest.fixture(scope='session')
def models(imae_config):
    """An i-MAE and a teacher's encoder."""
    model = derive(imae_config)[0].model
    torch.manual_seed(0)
    imae = MODELS.build({**model, 'distill': None}).eval()
    return imae, MODELS.build({**model.backbone, 'frozen': True})


@pytest.fixture(scope='session')
def trained(imae_config, models, tmp_path_factory):
    """A folder with images and two checkpoints, the configs of the pre-training and a probe."""
    root = tmp_path_factory.mktemp('run')
    rng = np.random.default_rng(0)
    for split, count in (('train', 8), ('test', 5)):
        for label in ('ant', 'bee'):
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
                cv2.imwrite(str(root / split / label / f'{i}.png'), image)
    data = Config.fromfile('configs/transfer/cifar/cifar10_vitt_knn.py')
    data.model.backbone.update(SIZES)
    for name in ('train_features', 'test_dataloader'):
        data[name].dataset.dataset.data_root = str(root)
        data[name].num_workers = 0
    imae, teacher = models
    torch.save(dict(state_dict=imae.state_dict()), root / 'imae.pth')
    torch.save(
        dict(state_dict={f'backbone.{k}': v for k, v in teacher.state_dict().items()}),
        root / 'mae.pth',
    )
    return root, imae_config, data
