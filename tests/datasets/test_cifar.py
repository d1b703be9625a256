"""CIFAR as folders of images: what is written is what torchvision reads."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from mixae.datasets import cifar
from mixae.datasets.cifar import describe_folder, prepare_cifar
from mixae.errors import MixaeError


@pytest.fixture
def original(tmp_path, monkeypatch):
    """CIFAR-10's archive, unpacked, with 20 training and 10 test images of the real form."""
    folder = tmp_path / 'cifar' / 'original' / 'cifar-10-batches-py'
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f'class{i}' for i in range(10)]
    pixels = {}
    for file, count in [('data_batch_1', 20), ('test_batch', 10)]:
        data = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        labels = [i % 10 for i in range(count)]
        (folder / file).write_bytes(pickle.dumps(dict(data=data, labels=labels)))
        pixels[file] = data
    (folder / 'batches.meta').write_bytes(pickle.dumps(dict(label_names=names)))
    cifar10 = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar10, 'train_list', [['data_batch_1', None]])
    monkeypatch.setattr(cifar10, 'test_list', [['test_batch', None]])
    monkeypatch.setattr(cifar10, 'meta', dict(filename='batches.meta', key='label_names', md5=None))
    monkeypatch.setattr(cifar, 'IMAGES', dict(train=20, test=10))
    return tmp_path / 'cifar', pixels


def test_pixels_survive(original):
    out, pixels = original
    prepare_cifar('cifar10', out, download=False)
    for split, file in (('train', 'data_batch_1'), ('test', 'test_batch')):
        written = sorted((out / split).rglob('*.png'), key=lambda p: p.stem)
        assert len(written) == len(pixels[file])
        for i, path in enumerate(written):
            expected = pixels[file][i].reshape(3, 32, 32).transpose(1, 2, 0)
            assert np.array_equal(np.asarray(Image.open(path)), expected)
            assert path.parent.name == f'class{i % 10}'
    assert json.loads((out / 'dataset.json').read_text())['description'] == 'CIFAR-10, lossless'


def test_repeating_completes_what_is_missing(original):
    out, _ = original
    prepare_cifar('cifar10', out, download=False)
    lost = next((out / 'train').rglob('*.png'))
    lost.unlink()
    prepare_cifar('cifar10', out, download=False)
    assert lost.exists()


def test_a_kill_while_writing_leaves_no_half_of_an_image(original, monkeypatch):
    out, _ = original

    def killed(self, path, *args, **kwargs):
        Path(path).write_bytes(b'half')
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Image.Image, 'save', killed)
        prepare_cifar('cifar10', out, download=False)
    assert not list(out.rglob('*.png'))
    prepare_cifar('cifar10', out, download=False)  # nothing half is taken for done


def test_a_folder_that_cannot_be_written_is_named(original):
    out, _ = original
    (out / 'train').write_text('in the way')
    with pytest.raises(MixaeError, match=r'train/class0/00000\.png cannot be written'):
        prepare_cifar('cifar10', out, download=False)


def test_no_archive_says_where_to_put_it(tmp_path):
    with pytest.raises(MixaeError, match=r'cifar-10-python\.tar\.gz .*into .*original'):
        prepare_cifar('cifar10', tmp_path, download=False)


def test_describing_an_incomplete_folder_names_what_is_wrong(original):
    out, _ = original
    prepare_cifar('cifar10', out, download=False)
    next((out / 'test').rglob('*.png')).unlink()
    with pytest.raises(MixaeError, match='holds 9 images in 9 classes; cifar10 has 10 in'):
        describe_folder(out, 'cifar10', 'whatever')
