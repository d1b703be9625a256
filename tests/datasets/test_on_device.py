"""A data set on the device: Pillow's pixels, mmpretrain's distribution, (seed, epoch, image)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpretrain.datasets.transforms import RandomResizedCrop
from PIL import Image
from scipy import stats
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader

from mixae.datasets import EpochSampler, SampleIndex, as_it_is
from mixae.datasets.on_device import _GOLDEN, _mix, random_boxes, resized_crops, uniforms
from mixae.errors import ConfigError, DataError
from mixae.registry import DATASETS

PHOTO = load_sample_images().images[0]
PILLOW = dict(bicubic=Image.BICUBIC, bilinear=Image.BILINEAR)
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(
        type='RandomResizedCrop',
        scale=24,
        crop_ratio_range=(0.2, 1.0),
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]


def build(root, pipeline=PIPELINE, **options):
    inner = dict(type='mixae.ImageFolder', data_root=str(root), data_prefix='train')
    inner['pipeline'] = [{**step, 'type': f'mmpretrain.{step["type"]}'} for step in pipeline]
    return DATASETS.build(dict(type='mixae.DeviceDataset', dataset=inner, device='cpu', **options))


@settings(max_examples=20, deadline=None)
@given(data=st.data(), interpolation=st.sampled_from(sorted(PILLOW)))
def test_pixels_are_pillows(data, interpolation):
    H, W = data.draw(st.integers(8, 70)), data.draw(st.integers(8, 70))
    size = data.draw(st.tuples(st.integers(4, 64), st.integers(4, 64)))
    images, boxes, expected, flips = [], [], [], []
    for _ in range(3):
        y, x = data.draw(st.integers(0, 350)), data.draw(st.integers(0, 560))
        image = PHOTO[y : y + H, x : x + W]
        h, w = data.draw(st.integers(1, H)), data.draw(st.integers(1, W))
        top, left = data.draw(st.integers(0, H - h)), data.draw(st.integers(0, W - w))
        crop = Image.fromarray(image[top : top + h, left : left + w])
        # Pillow 13 may turn the passes round.
        for width, height in ((size[1], h), (size[1], size[0])):
            crop = crop.resize((width, height), PILLOW[interpolation])
        crop = np.asarray(crop)
        flips.append(data.draw(st.booleans()))
        expected.append(crop[:, ::-1] if flips[-1] else crop)
        images.append(torch.from_numpy(image.copy()).permute(2, 0, 1))
        boxes.append([top, left, h, w])
    found = resized_crops(
        torch.stack(images), torch.tensor(boxes).double(), torch.tensor(flips), size, interpolation
    )
    difference = (
        found.permute(0, 2, 3, 1).int() - torch.from_numpy(np.stack(expected)).int()
    ).abs()
    assert difference.max() <= 2 and difference.float().mean() < 0.3


@pytest.mark.parametrize('size', [(32, 32), (20, 60)])
def test_crops_are_distributed_as_mmpretrains(size):
    crop = RandomResizedCrop(32, crop_ratio_range=(0.2, 1.0))
    keys = torch.stack([torch.arange(4000), torch.ones(4000), torch.zeros(4000)], 1).long()
    ours = random_boxes(uniforms(0, keys, 41), size, crop).numpy()
    np.random.seed(0)
    image = np.empty((*size, 3), np.uint8)
    theirs = np.array([crop.rand_crop_params(image) for _ in range(4000)])
    for column in range(4):
        counts = [np.bincount(x[:, column].astype(int), minlength=61) for x in (ours, theirs)]
        counts = np.array(counts)[:, np.sum(counts, 0) > 10]
        if counts.shape[1] > 1:
            assert stats.chi2_contingency(counts).pvalue > 1e-3, column
    areas = [x[:, 2] * x[:, 3] for x in (ours, theirs)]
    assert stats.ks_2samp(*areas).pvalue > 1e-3


def test_numbers_are_uniform_and_independent_of_their_neighbours():
    keys = torch.stack([torch.arange(3000), torch.full((3000,), 5), torch.zeros(3000)], 1).long()
    u = uniforms(1, keys, 41).numpy()
    assert u.min() >= 0 and u.max() < 1
    for column in (0, 1, 40):
        assert stats.kstest(u[:, column], 'uniform').pvalue > 1e-3
    others = [uniforms(2, keys, 41), uniforms(1, keys + torch.tensor([0, 1, 0]), 41)]
    others += [uniforms(1, keys + torch.tensor([1, 0, 0]), 41), torch.from_numpy(u[:, ::-1].copy())]
    for other in others:
        assert abs(np.corrcoef(u[:, 0], other[:, 0])[0, 1]) < 0.07  # 4 sigma of 3000
    # splitmix64 as published: the first outputs for the state 1234567.
    outputs = _mix(1234567 + torch.tensor([1, 2]) * _GOLDEN).tolist()
    assert [x % 2**64 for x in outputs] == [6457827717110365317, 3203168211198807973]


def test_a_sample_depends_on_seed_epoch_and_image_alone(image_folder):
    dataset = build(image_folder)
    one = dataset[SampleIndex(7, epoch=3)]['inputs']
    assert one.shape == (3, 24, 24) and one.dtype == torch.uint8
    batch = dataset.__getitems__([SampleIndex(i, epoch=3) for i in (2, 7, 40)])['inputs']
    assert torch.equal(batch[1], one)
    for other in (SampleIndex(7, epoch=4), SampleIndex(7, epoch=3, draw=1)):
        assert not torch.equal(dataset[other]['inputs'], one)
    assert not torch.equal(build(image_folder, seed=1)[SampleIndex(7, epoch=3)]['inputs'], one)
    # Without augmentation it is the file's image, in the order of the data set.
    plain = build(image_folder, [PIPELINE[0], PIPELINE[3]])
    original = plain.dataset.pipeline(plain.dataset.get_data_info(7))['img']
    assert torch.equal(plain[7]['inputs'].permute(1, 2, 0), torch.from_numpy(original))


def test_a_loader_gives_whole_batches_and_half_are_flipped(image_folder):
    dataset = build(image_folder, [PIPELINE[0], PIPELINE[2], PIPELINE[3]])
    loader = DataLoader(
        dataset, 8, sampler=EpochSampler(dataset, shuffle=False), collate_fn=as_it_is
    )
    inputs = torch.cat([batch['inputs'] for batch in loader])
    flipped = (inputs != dataset.images).flatten(1).any(1)
    assert len(inputs) == 48 and 12 < flipped.sum() < 36
    assert torch.equal(inputs[flipped], dataset.images[flipped].flip(-1))


def test_grey_images_have_one_channel(image_folder):
    grey = build(image_folder, [{**PIPELINE[0], 'color_type': 'grayscale'}, *PIPELINE[1:]])
    original = grey.dataset.pipeline(grey.dataset.get_data_info(7))['img']
    assert original.shape == (32, 32)
    assert torch.equal(grey.images[7], torch.from_numpy(original)[None])
    batch = grey.__getitems__([SampleIndex(i, epoch=3) for i in (2, 7)])['inputs']
    assert batch.shape == (2, 1, 24, 24) and batch.dtype == torch.uint8
    # The crop of a channel is that of the same channel among three.
    three = [{**PIPELINE[0], 'color_type': 'color'}, *PIPELINE[1:]]
    colour = build(image_folder, three)
    colour._images = grey.images.expand(-1, 3, -1, -1)
    alike = colour.__getitems__([SampleIndex(i, epoch=3) for i in (2, 7)])['inputs']
    assert torch.equal(alike[:, :1], batch)


@pytest.mark.parametrize(
    'pixels, loading, given',
    [
        (PHOTO[:8, :8], dict(type='LoadImageFromFile', to_float32=True), r'\(8, 8, 3\) of float32'),
        (PHOTO[:8, :8] * 200.0, dict(type='mixae.LoadArray'), r'\(8, 8, 3\) of float32'),
        (PHOTO[:8, :8, 0].astype(np.uint16) * 200, dict(type='mixae.LoadArray'), r'\(8, 8\) of'),
    ],
    ids=['float', 'array', '16 bit'],
)
def test_images_of_other_types_are_refused(tmp_path, pixels, loading, given):
    (tmp_path / 'train' / 'a').mkdir(parents=True)
    options = {}
    if loading['type'] == 'LoadImageFromFile':
        Image.fromarray(pixels).save(tmp_path / 'train' / 'a' / 'x.png')
    else:
        np.save(tmp_path / 'train' / 'a' / 'x.npy', pixels)
        options = dict(extensions=('.npy',))
    inner = dict(type='mixae.ImageFolder', data_root=str(tmp_path), data_prefix='train', **options)
    kind = loading['type'] if '.' in loading['type'] else f'mmpretrain.{loading["type"]}'
    inner['pipeline'] = [{**loading, 'type': kind}, dict(type='mmpretrain.PackInputs')]
    dataset = DATASETS.build(dict(type='mixae.DeviceDataset', dataset=inner, device='cpu'))
    with pytest.raises(DataError, match=f'images of 8 bits, .* gives {given}.*SeededDataset'):
        dataset[0]


def test_what_it_cannot_do_is_named(image_folder, tmp_path):
    jitter = [PIPELINE[0], dict(type='ColorJitter', brightness=0.5), PIPELINE[3]]
    with pytest.raises(ConfigError, match='ColorJitter'):
        build(image_folder, jitter)
    for name, side in (('a', 8), ('b', 9)):
        (tmp_path / 'train' / name).mkdir(parents=True)
        Image.fromarray(PHOTO[:side, :8]).save(tmp_path / 'train' / name / 'x.png')
    with pytest.raises(DataError, match='one size and found 2 .*8x8x3'):
        build(tmp_path)[0]
