"""Preparing Tiny-ImageNet, on a tiny archive of the same layout."""

import hashlib
import inspect
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmpretrain.datasets import CustomDataset
from PIL import Image

from mixae.datasets.tiny_imagenet import prepare_tiny_imagenet
from mixae.errors import DataError

CLASSES = ('n01443537', 'n01629819')
IMAGES = dict(train=6, val=4)


def jpeg(value):
    buffer = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), value, np.uint8)).save(buffer, 'JPEG')
    return buffer.getvalue()


@pytest.fixture
def archive(tmp_path):
    return make_archive(tmp_path / 'elsewhere.zip')


def make_archive(path, extra=()):
    val = [f'val_{i}.JPEG' for i in range(4)]
    with zipfile.ZipFile(path, 'w') as file:
        top = 'tiny-imagenet-200'
        file.writestr(f'{top}/wnids.txt', '\n'.join(CLASSES))
        for label in CLASSES:
            file.writestr(f'{top}/train/{label}/{label}_boxes.txt', 'x')
            for i in range(3):
                file.writestr(f'{top}/train/{label}/images/{label}_{i}.JPEG', jpeg(10 * i))
        lines = [f'{name}\t{CLASSES[i % 2]}\t0\t0\t62\t62' for i, name in enumerate(val)]
        file.writestr(f'{top}/val/val_annotations.txt', '\n'.join(lines) + '\n')
        for i, name in enumerate(val):
            file.writestr(f'{top}/val/images/{name}', jpeg(100 + i))
        file.writestr(f'{top}/test/images/test_0.JPEG', jpeg(0))
        for name in extra:
            file.writestr(name, jpeg(0))
    return path


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def prepare(root, archive=None, **options):
    options.setdefault('md5', md5(archive) if archive else '0' * 32)
    return prepare_tiny_imagenet(root, archive, images=IMAGES, **options)


def test_folders_of_classes_that_mmpretrain_reads(archive, tmp_path):
    root = prepare(tmp_path / 'data', archive)
    train = CustomDataset(data_prefix=str(root / 'train'))
    val = CustomDataset(data_prefix=str(root / 'val'))
    assert list(train.CLASSES) == list(val.CLASSES) == list(CLASSES)
    assert train.get_gt_labels().tolist() == [0, 0, 0, 1, 1, 1]
    found = {
        (val.get_data_info(i)['img_path'].rsplit('/', 1)[1], val.get_data_info(i)['gt_label'])
        for i in range(4)
    }
    assert found == {('val_0.JPEG', 0), ('val_1.JPEG', 1), ('val_2.JPEG', 0), ('val_3.JPEG', 1)}
    with Image.open(root / 'val' / CLASSES[1] / 'val_3.JPEG') as image:
        assert abs(int(np.asarray(image).mean()) - 103) <= 1
    assert sorted(p.name for p in root.iterdir()) == ['dataset.json', 'train', 'val']


def test_a_second_run_does_nothing_and_a_loss_is_noticed(archive, tmp_path):
    root = prepare(tmp_path / 'data', archive)
    checksum = md5(archive)
    archive.unlink()
    prepare(root, md5=checksum, url='file:///nowhere')  # needs neither archive nor network
    (root / 'val' / CLASSES[0] / 'val_0.JPEG').unlink()
    with pytest.raises(DataError, match='move it away'):
        prepare(root, md5=checksum, url='file:///nowhere')


def test_download_is_checked_and_kept(archive, tmp_path):
    root = prepare(tmp_path / 'data', url=archive.as_uri(), md5=md5(archive))
    assert (root / 'tiny-imagenet-200.zip').is_file() and (root / 'val').is_dir()


def test_without_network_the_message_says_what_to_do(tmp_path):
    root = tmp_path / 'data'
    with pytest.raises(DataError) as error:
        prepare(root, url=(tmp_path / 'nothing.zip').as_uri())
    for word in ('by hand', 'nothing.zip', str(root / 'tiny-imagenet-200.zip'), '0' * 32):
        assert word in str(error.value)
    assert list(root.iterdir()) == []


def test_damaged_archive_and_interrupted_extraction(archive, tmp_path):
    with pytest.raises(DataError, match='damaged or another file'):
        prepare(tmp_path / 'data', archive, md5='1' * 32)
    with pytest.raises(DataError, match='no file'):
        prepare_tiny_imagenet(tmp_path / 'data', tmp_path / 'no.zip')
    (tmp_path / 'data' / 'partial' / 'train' / 'old').mkdir(parents=True)
    root = prepare(tmp_path / 'data', archive)
    assert not (root / 'partial').exists() and not (root / 'train' / 'old').exists()


@pytest.mark.parametrize(
    'entry',
    [
        'tiny-imagenet-200/train/../images/evil.JPEG',
        'tiny-imagenet-200/train/n01443537/images/..',
        'tiny-imagenet-200/val/images/unlabelled.JPEG',
    ],
)
def test_unexpected_entries_are_refused(entry, tmp_path):
    archive = make_archive(tmp_path / 'bad.zip', extra=[entry])
    with pytest.raises(DataError):
        prepare(tmp_path / 'data', archive)
    assert not (tmp_path / 'data' / 'train').exists()


def test_the_configs_read_where_the_tool_writes():
    default = inspect.signature(prepare_tiny_imagenet).parameters['data_root'].default
    configs = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'
    roots = set()
    for path in configs.glob('tiny_imagenet_*.py'):
        roots |= set(re.findall(r"data_root': '([^']*)'", str(Config.fromfile(path).to_dict())))
    assert roots == {default, 'auto'}
