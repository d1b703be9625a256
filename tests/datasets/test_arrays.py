"""Images of many channels from NumPy files, down to a training run and its record."""

import json

import numpy as np
import pytest

from mixae.datasets import LoadArray, SeededDataset
from mixae.engine import launch
from mixae.errors import DataError


@pytest.fixture(scope='module')
def bands(tmp_path_factory):
    """train/ and test/ of two classes of 13 bands, 8 and 4 arrays of 24x40; told by one band."""
    root = tmp_path_factory.mktemp('bands')
    rng = np.random.default_rng(0)
    for split, count in (('train', 8), ('test', 4)):
        for label, name in enumerate(('field', 'lake')):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 4000, (24, 40, 13)).astype(np.uint16)
                image[..., 7] = 5000 * label
                np.save(folder / f'{i}.npy', image)
    return root


def use_bands(cfg, root):
    cfg.model.backbone.update(in_chans=13, img_size=(16, 32))
    cfg.model.data_preprocessor.update(mean=[2000.0] * 13, std=[1200.0] * 13)
    for name in ('train_dataloader', 'test_dataloader', 'train_features'):
        if not cfg.get(name):
            continue
        data = cfg[name].dataset.dataset
        data.update(type='CustomDataset', data_root=str(root), extensions=('.npy',))
        data.pop('split', None)
        data.data_prefix = 'test' if name == 'test_dataloader' else 'train'
        data.with_label = True
        data.pipeline = [dict(type='mixae.LoadArray'), *data.pipeline[1:]]
        for step in data.pipeline:
            if step.get('backend') == 'pillow':
                step['backend'] = 'cv2'
    if cfg.get('num_classes'):
        cfg.num_classes = 2
    return cfg


def test_bands_are_pretrained_on_and_probed(small_config, bands, tmp_path):
    cfg = use_bands(small_config('mae/vits_tiny_imagenet_1000e.py', tmp_path / 'mae', 1), bands)
    launch.train(cfg)
    cfg = small_config('transfer/tiny_imagenet/vits_knn.py', tmp_path / 'knn')
    cfg = use_bands(cfg, bands)
    cfg.test_cfg.probe.k = 3
    launch.test(cfg, str(tmp_path / 'mae/epoch_1.pth'))
    (record,) = (tmp_path / 'knn').rglob('*.record.json')
    record = json.loads(record.read_text())
    assert record['backbone']['img_size'] == '16x32'
    assert record['backbone']['arch'] == 'ViT-16x3 (13 channels)'
    assert record['metrics']['accuracy/top1']['value'] > 85, 'band 7 tells the classes'


@pytest.mark.parametrize(
    'content, message',
    [
        (b'', 'cannot be read as an array'),
        (b'no array', 'cannot be read as an array'),
        (np.zeros(4), r'holds \(4,\); expected an array \(H, W\)'),
        (np.zeros((2, 0, 3)), 'expected an array'),
        (np.full((4, 4), np.nan), 'no finite numbers'),
        (np.full((4, 4), 'a'), 'no finite numbers'),
        (np.full((4, 4), {}), 'cannot be read as an array'),
    ],
)
def test_files_that_hold_no_image_are_named(content, message, tmp_path):
    (tmp_path / 'a').mkdir()
    path = tmp_path / 'a/bad.npy'
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    data = dict(
        type='mmpretrain.CustomDataset', data_root=str(tmp_path), extensions=('.npy',),
        pipeline=[dict(type='mixae.LoadArray')],
    )  # fmt: skip
    with pytest.raises(DataError, match=message) as error:
        SeededDataset(data, on_unreadable='raise')[0]
    assert 'bad.npy' in str(error.value)


def test_an_array_is_taken_as_it_is(tmp_path):
    image = np.arange(24, dtype=np.uint16).reshape(2, 3, 4) * 2000
    np.save(tmp_path / 'a.npy', image)
    loaded = LoadArray()(dict(img_path=str(tmp_path / 'a.npy')))
    assert loaded['img_shape'] == (2, 3) and loaded['img'].dtype == np.float32
    assert (loaded['img'] == image).all()
