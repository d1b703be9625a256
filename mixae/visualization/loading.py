"""Models, images and pairs for pictures, from configs, checkpoints and files."""

from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from mmpretrain.models import MAE
from timm.layers import to_2tuple
from torch import Tensor, nn

from mixae.checkpoints.whole_models import load_model
from mixae.datasets.guard import unreadable
from mixae.datasets.pair_loader import build_pair_loader
from mixae.derive import derive
from mixae.derive.components import is_model
from mixae.errors import ConfigError, DataError
from mixae.models.selfsup.imae import IMAE
from mixae.registry import DATASETS, MODELS, TRANSFORMS


def load_pretrained_model(cfg: Config, checkpoint: str | Path) -> MAE:
    """The pre-training model of a config with all weights of its checkpoint.

    Raises:
        ConfigError: The config's model is not one that reconstructs single images.
        CheckpointError: The checkpoint cannot be read or does not fit; names the keys.
    """
    cfg, _ = derive(cfg, cuda=False)
    if not is_model(cfg, MAE) or is_model(cfg, IMAE):
        raise ConfigError(
            f'model.type={cfg.model.type!r}: pictures of reconstructions are drawn for MAE and '
            'mixae.MixedAE; tools/analysis/imae_pictures.py draws those of i-MAE.'
        )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return load_model(cfg.model, checkpoint)


def images_of_dataset(cfg: Config, num_images: int, split: str | None = None) -> Tensor:
    """Evenly spaced images of a config's training data, without its augmentation.

    Args:
        cfg (Config): A pre-training config.
        num_images (int): How many.
        split (str, optional): Sets the data set's ``split``, where it has one: 'test' shows
            images that pre-training has not seen. Defaults to None.

    Returns:
        Tensor: (num_images, C, H, W) of the model's input size, as the pipeline loads them; RGB
            where C is 3.

    Raises:
        DataError: The data set has fewer images.
    """
    cfg, _ = derive(cfg, cuda=False)
    dataset = cfg.train_dataloader.dataset
    dataset = dataset.get('dataset', dataset)
    load = [t for t in dataset.get('pipeline', []) if t['type'].split('.')[-1].startswith('Load')]
    dataset = {**dataset, 'pipeline': [], **({'split': split} if split else {})}
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        data = DATASETS.build(dataset)
        load = Compose([TRANSFORMS.build(t) for t in load])
        if num_images > len(data):
            raise DataError(f'num_images={num_images} of a data set of {len(data)} images.')
        chosen = np.linspace(0, len(data) - 1, num_images).round().astype(int)
        found = [load(data.get_data_info(int(index)))['img'] for index in chosen]
    return _to_input(found, cfg)


def images_of_files(cfg: Config, paths: Sequence[str | Path]) -> Tensor:
    """Image files at the model's input size: short edge resized, centre cropped.

    Raises:
        ConfigError: A model of neither 1 nor 3 channels, which image files have.
        DataError: There is no such file, or one that cannot be read as an image.
    """
    found = []
    channels = cfg.model.backbone.get('in_chans', 3)
    if channels not in (1, 3):
        raise ConfigError(
            f'model.backbone.in_chans={channels}: image files have 1 or 3 channels; leave --images '
            "out to draw images of the config's data set."
        )
    for path in paths:
        if not Path(path).is_file():
            raise DataError(f'There is no image at {path}.')
        if reason := unreadable(str(path)):
            raise DataError(f'{reason}.')
        found.append(mmcv.imread(str(path), 'color' if channels == 3 else 'grayscale'))
    return _to_input(found, derive(cfg, cuda=False)[0])


def _to_input(images: Sequence[np.ndarray], cfg: Config) -> Tensor:
    """Images (H, W, C) or (H, W), of which three channels are BGR, as (B, C, H, W)."""
    height, width = to_2tuple(cfg.model.backbone.get('img_size', 224))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        fit = Compose(
            [
                TRANSFORMS.build(dict(type='ResizeEdge', scale=max(height, width))),
                TRANSFORMS.build(dict(type='CenterCrop', crop_size=(width, height))),
            ]
        )
        fitted = [
            fit(dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2]))['img']
            for image in images
        ]
    stack = np.stack(fitted)
    stack = stack[..., None] if stack.ndim == 3 else stack
    stack = stack[..., ::-1] if stack.shape[-1] == 3 else stack
    return torch.from_numpy(np.ascontiguousarray(stack.transpose(0, 3, 1, 2)))


def load_pairs(
    data: Config, pairs: int, seed: int = 0, device: str = 'cpu'
) -> tuple[Tensor, nn.Module]:
    """The first pairs of a held-out split, the subordinate image first, and its preprocessor.

    Args:
        data (Config): A config of a frozen-feature protocol (configs/transfer, kNN or linear).
        pairs (int): How many.
        seed (int): Which. Defaults to 0.
        device (str): Where to.

    Returns:
        tuple[Tensor, nn.Module]: Normalised images (2 * pairs, 3, height, width), preprocessor.

    Raises:
        ConfigError: A config without a test split.
    """
    if not data.get('test_dataloader'):
        raise ConfigError(
            f'The data config {data.filename} has no test_dataloader: give the config of a kNN or '
            'linear probe.'
        )
    data = data.copy()
    data.pretrained = 'scratch'
    data.test_dataloader.num_workers = 0
    data = derive(data)[0]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        preprocessor = MODELS.build(data.model.data_preprocessor).to(device)
        batch = next(iter(build_pair_loader(data.test_dataloader, pairs, seed=seed)))
    return preprocessor(batch, False)['inputs'], preprocessor
