"""Real images, small, for every test that reads files: digits and photographs of scikit-learn."""

import itertools
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

os.environ.setdefault('OMP_NUM_THREADS', '1')
if not torch.cuda.is_available():
    os.environ['TRITON_INTERPRET'] = '1'  # read when triton is first imported, after this

SPLITS = dict(train=12, test=6)


@pytest.fixture(autouse=True)
def own_default_scope():
    """mmengine's default scope and loggers stay behind: no test finds another's.

    A logger keeps the stream of the test that made it, which pytest closes.
    """
    from mmengine.logging import MMLogger
    from mmengine.registry import DefaultScope

    DefaultScope._instance_dict.clear()
    MMLogger._instance_dict.clear()
    yield


@pytest.fixture
def log(caplog):
    """What the log has said so far, a text a record; mmengine's logger does not propagate."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        yield lambda: [record.getMessage() for record in caplog.records]
    logger.removeHandler(caplog.handler)


@pytest.fixture(scope='session')
def real_data() -> Path:
    """The folder of real data sets that MIXAE_TEST_DATA names."""
    folder = os.environ.get('MIXAE_TEST_DATA')
    if not folder or not Path(folder).is_dir():
        pytest.skip(f'MIXAE_TEST_DATA={folder!r} names no folder of real images')
    return Path(folder)


@pytest.fixture(scope='session')
def image_folder(tmp_path_factory) -> Path:
    """train/ and test/ of four classes, 12 and 6 images of 32x32 a class; PNG and JPEG."""
    root = tmp_path_factory.mktemp('images')
    rng = np.random.default_rng(0)
    digits, photos = load_digits(), load_sample_images().images
    drawn = 0
    for split, count in SPLITS.items():
        for kind in ('zero', 'one', 'temple', 'flower'):
            folder = root / split / kind
            folder.mkdir(parents=True)
            for i in range(count):
                if kind in ('zero', 'one'):
                    values = digits.images[digits.target == (kind == 'one')][drawn + i]
                    image = Image.fromarray((values / 16 * 255).astype(np.uint8))
                    image.convert('RGB').resize((32, 32)).save(folder / f'{i}.png')
                else:
                    y, x = rng.integers(0, 390), rng.integers(0, 600)
                    photo = photos[0 if kind == 'temple' else 1]
                    image = Image.fromarray(photo[y : y + 32, x : x + 32])
                    image.save(folder / f'{i}.jpg', quality=90)
        drawn += count
    return root


CONFIGS = Path(__file__).parents[1] / 'configs'
SERIAL = itertools.count()


@pytest.fixture
def small_config(image_folder, tmp_path, monkeypatch):
    """A config file of the project made small: a function of its path below configs/."""
    from mmengine.config import Config
    from yapf.yapflib import yapf_api

    # Half the time of so small a run goes into the layout of the config's text.
    monkeypatch.setattr(yapf_api, 'FormatCode', lambda text, **_: (text, False))

    def load(path: str, work_dir: str | Path = tmp_path / 'run', epochs: int = 2) -> Config:
        cfg = Config.fromfile(CONFIGS / path)
        cfg.work_dir = str(work_dir)
        # Runs of one name that start in one second would share their logger and its history.
        cfg.experiment_name = f'{tmp_path.name}_{next(SERIAL)}'
        cfg.model.backbone.arch = dict(
            embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32
        )
        cfg.model.backbone.update(img_size=32, patch_size=8)
        if cfg.model.get('neck', {}).get('type') == 'MAEPretrainDecoder':
            cfg.model.neck.update(decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2)
        for name in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'train_features'):
            if cfg.get(name):
                cfg[name].update(batch_size=8, num_workers=0, pin_memory=False)
                cfg[name].dataset.dataset.data_root = str(image_folder)
        if cfg.get('num_classes'):
            cfg.num_classes = 4
        for name in ('val_evaluator', 'test_evaluator'):
            if cfg.get(name):
                cfg[name].topk = (1,)
        if cfg.get('train_cfg'):
            cfg.train_cfg.max_epochs = epochs
            cfg.optim_wrapper.type = 'OptimWrapper'
            cfg.default_hooks.logger.interval = 1
            cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1)
        cfg.data_about.description = 'digits and photographs of scikit-learn'
        return cfg

    return load
