"""Images in tar files, shards of WebDataset and Hugging Face's data sets: those of the folder."""

import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image
from torch.utils.data import DataLoader

from mixae.datasets import ImageFolder, SampleIndex, SeededDataset, TimmReaderDataset
from mixae.datasets.checks import loading
from mixae.errors import ConfigError, DataError
from mixae.registry import DATASETS
from tests.engine.test_bit_for_bit import check

LOAD = [dict(type='LoadImageFromFile')]
CROP = [
    *LOAD,
    dict(type='mixae.FastRandomResizedCrop', scale=16, interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
]


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def one_tar(folder: Path, out: Path) -> None:
    """As ``tar -cf train.tar -C train .`` of some systems, with what they leave there."""
    with tarfile.open(out / 'train.tar', 'w') as tar:
        tar.add(folder, '.')
        add(tar, './__MACOSX/zero/1.png', b'nothing')
        add(tar, './zero/._1.png', b'nothing')
        add(tar, './README.txt', b'about')


def a_tar_per_class(folder: Path, out: Path) -> None:
    (out / 'train').mkdir()
    for one in sorted(folder.iterdir(), reverse=True):
        with tarfile.open(out / 'train' / f'{one.name}.tar', 'w') as tar:
            for path in sorted(one.iterdir(), reverse=True):
                tar.add(path, path.name)


def a_tar_of_tars(folder: Path, out: Path) -> None:
    """As ImageNet is handed out."""
    a_tar_per_class(folder, out)
    with tarfile.open(out / 'train.tar', 'w') as tar:
        for path in (out / 'train').iterdir():
            tar.add(path, path.name)
            path.unlink()
    (out / 'train').rmdir()


def shards(folder: Path, out: Path) -> None:
    """As WebDataset writes them: an image and the number of its class under one name."""
    (out / 'train').mkdir()
    names = sorted(path.name for path in folder.iterdir())
    paths = sorted(folder.glob('*/*'))
    for shard in range(2):
        with tarfile.open(out / 'train' / f'{shard:03d}.tar', 'w') as tar:
            for i, path in list(enumerate(paths))[shard::2]:
                add(tar, f'{i:04d}{path.suffix}', path.read_bytes())
                add(tar, f'{i:04d}.cls', str(names.index(path.parent.name)).encode())


def pack(how, image_folder, out):
    how(image_folder / 'train', out)
    return dict(reader='wds' if how is shards else 'tar', data_root=str(out))


@pytest.mark.parametrize('how', [one_tar, a_tar_per_class, a_tar_of_tars, shards])
def test_images_and_labels_are_those_of_the_folder(how, image_folder, tmp_path):
    options = pack(how, image_folder, tmp_path)
    folder, ours = (
        kind(data_root=str(root), pipeline=LOAD, **more)
        for kind, root, more in (
            (ImageFolder, image_folder / 'train', {}),
            (TimmReaderDataset, tmp_path, {k: v for k, v in options.items() if k == 'reader'}),
        )
    )
    assert len(ours) == len(folder) == 48
    if how is shards:  # by class, then by shard
        ours, folder = (
            sorted(data, key=lambda one: (one['gt_label'], one['img'].tobytes()))
            for data in (ours, folder)
        )
    else:
        assert ours.metainfo['classes'] == folder.metainfo['classes']
    for mine, theirs in zip(ours, folder, strict=True):
        assert mine['gt_label'] == theirs['gt_label']
        np.testing.assert_array_equal(mine['img'], theirs['img'])
        assert mine['ori_shape'] == theirs['ori_shape'] == (32, 32)
    assert len({one['img'].tobytes() for one in ours}) > 40


def test_processes_give_the_samples_of_the_folder(image_folder, tmp_path):
    """The samples of an epoch are drawn from (seed, epoch, image), whoever loads them."""
    options = pack(a_tar_of_tars, image_folder, tmp_path)
    ours = SeededDataset(dict(type='mixae.TimmReaderDataset', pipeline=CROP, **options))
    folder = SeededDataset(
        dict(type='mixae.ImageFolder', data_root=str(image_folder / 'train'), pipeline=CROP)
    )
    ours[0]  # what this process has read moves nothing in those that it starts
    order = [SampleIndex(i, 3) for i in reversed(range(48))]
    loader = DataLoader(ours, 4, sampler=order, num_workers=2, collate_fn=list)
    loaded = [one for batch in loader for one in batch]
    for index, one in zip(order, loaded, strict=True):
        np.testing.assert_array_equal(one['img'], folder[index]['img'])


def test_a_run_goes_on_bit_for_bit_and_is_that_of_the_folder(small_config, image_folder, tmp_path):
    pack(one_tar, image_folder, tmp_path)

    def config():
        cfg = small_config('mae/vitt_cifar10_2000e.py')
        inner = cfg.train_dataloader.dataset.dataset
        inner.update(type='mixae.TimmReaderDataset', data_root=str(tmp_path))
        inner.data_prefix = 'train.tar'
        cfg.default_hooks.checkpoint.update(by_epoch=False, interval=4)
        return cfg

    check(config, tmp_path, 5, 'iter_4', 'iter_12')


def test_labels_of_one_class_and_without_labels(image_folder, tmp_path):
    pack(shards, image_folder, tmp_path)
    data = TimmReaderDataset(data_root=str(tmp_path), reader='tar', with_label=False)
    assert len(data) == 48 and 'gt_label' not in data.get_data_info(0)
    names = tuple('abcd')
    data = TimmReaderDataset(data_root=str(tmp_path), reader='wds', classes=names)
    assert data.metainfo['classes'] == names
    with pytest.raises(DataError, match='0, 1, 2, 3, 4 in all, for 2 classes'):
        TimmReaderDataset(data_root=str(tmp_path), reader='wds', classes=('a', 'b'))


def test_a_damaged_image_is_named_and_replaced(image_folder, tmp_path):
    deep = io.BytesIO()
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(deep, 'PNG')
    with tarfile.open(tmp_path / 'train.tar', 'w') as tar:
        add(tar, 'a/0.jpg', b'no image')
        tar.add(image_folder / 'train/flower/1.jpg', 'a/1.jpg')
        add(tar, 'b/2.png', deep.getvalue())
    inner = dict(type='mixae.TimmReaderDataset', data_root=str(tmp_path), pipeline=LOAD)
    data = SeededDataset(inner)
    np.testing.assert_array_equal(data[0]['img'], data[1]['img'])
    with pytest.raises(DataError, match=r'train.tar/b/2.png has more than 8 bits a channel'):
        data[2]
    with pytest.raises(DataError, match=r'train.tar/a/0.jpg cannot be read as an image: it is da'):
        SeededDataset(inner, on_unreadable='raise')[0]


def nothing(folder):
    pass


def no_image(folder):
    with tarfile.open(folder / 'train.tar', 'w') as tar:
        add(tar, 'a/1.txt', b'text')


def cut(folder):
    with tarfile.open(folder / 'train.tar', 'w') as tar:
        add(tar, 'a/1.jpg', bytes(100_000))
    (folder / 'train.tar').write_bytes((folder / 'train.tar').read_bytes()[:50_000])


def no_label(folder):
    with tarfile.open(folder / 'train.tar', 'w') as tar:
        add(tar, '1.jpg', b'')


@pytest.mark.parametrize(
    'make, options, kind, expected',
    [
        (nothing, {}, DataError, 'train.tar is no tar file (.tar) and no folder of them.'),
        (nothing, dict(data_prefix='.'), DataError, 'is no tar file (.tar) and no folder of them.'),
        (
            nothing,
            dict(reader='zip'),
            ConfigError,
            "reader='zip' is unknown: choose 'tar', 'wds' or",
        ),
        (nothing, dict(reader_options=dict(a=1)), ConfigError, "go with 'hfds/NAME', not 'tar'."),
        (no_image, {}, DataError, 'There is no image in'),
        (cut, {}, DataError, 'cannot be read: ReadError: unexpected end of data.'),
        (no_label, dict(reader='wds'), DataError, 'train.tar/1.jpg has no .cls file beside it.'),
        (no_label, dict(classes=['a', 'b']), DataError, '1 in all, for 2 classes'),
    ],
)
def test_what_cannot_be_read_ends_in_one_line(make, options, kind, expected, tmp_path):
    make(tmp_path)
    config = dict(type='mixae.TimmReaderDataset', data_root=str(tmp_path), **options)
    with pytest.raises(kind) as error, loading(config):
        DATASETS.build(config)
    assert expected in str(error.value) and '\n' not in str(error.value)


def test_hugging_face_without_its_package(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, 'timm.data.readers.reader_hfds', raising=False)
    monkeypatch.setitem(sys.modules, 'datasets', None)
    with pytest.raises(ConfigError, match="needs Hugging Face's package: pip install datasets"):
        TimmReaderDataset(reader='hfds/cifar10', data_root=str(tmp_path))


def test_hugging_face_gives_what_the_folder_gives(image_folder, tmp_path, monkeypatch):
    datasets = pytest.importorskip('datasets')
    monkeypatch.setattr(datasets.config, 'HF_DATASETS_OFFLINE', True)
    saved = datasets.load_dataset('imagefolder', data_dir=image_folder, cache_dir=tmp_path / 'a')
    (tmp_path / 'hub').mkdir()
    saved['train'].to_parquet(tmp_path / 'hub' / 'train.parquet')
    options = dict(data_root=str(tmp_path), data_prefix='b', pipeline=LOAD)
    ours = TimmReaderDataset(reader=f'hfds/{tmp_path}/hub', **options)
    folder = ImageFolder(data_root=str(image_folder / 'train'), pipeline=LOAD)
    assert ours.metainfo['classes'] == folder.metainfo['classes']
    kinds = [
        sorted((one['gt_label'], one['img'].tobytes()) for one in data) for data in (ours, folder)
    ]
    assert len(ours) == 48 and kinds[0] == kinds[1]
    with pytest.raises(DataError, match="split='test' cannot be loaded"):
        TimmReaderDataset(reader=f'hfds/{tmp_path}/hub', split='test', **options)
