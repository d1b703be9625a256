"""Samples that depend on (seed, epoch, image) alone, and images that cannot be read."""

import shutil

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

from mixae.datasets import EpochSampler, SampleIndex, SeededDataset
from mixae.errors import DataError

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.2, 1.0), backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ColorJitter', brightness=0.5),
    dict(type='PackInputs'),
]


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def build(root, split='train', **options):
    dataset = dict(
        type='CustomDataset',
        data_root=str(root),
        data_prefix=split,
        with_label=True,
        pipeline=PIPELINE,
    )
    return SeededDataset(dataset, **options)


@pytest.fixture
def damaged(image_folder, tmp_path):
    """A copy of the training images in which one file is no image. Its path is beside it."""
    root = tmp_path / 'damaged'
    shutil.copytree(image_folder, root)
    bad = root / 'train' / 'flower' / '3.jpg'
    bad.write_bytes(b'this is no picture')
    return root, bad


def epoch_of(dataset, epoch, workers=0, batch_size=5):
    sampler = EpochSampler(dataset, shuffle=True, seed=1)
    sampler.set_epoch(epoch)
    loader = DataLoader(
        dataset, batch_size, sampler=sampler, num_workers=workers, collate_fn=lambda x: x
    )
    return torch.stack([sample['inputs'] for batch in loader for sample in batch])


def test_augmentation_does_not_depend_on_workers_or_on_what_was_drawn_before(image_folder):
    torch.manual_seed(1)
    one = epoch_of(build(image_folder), epoch=2)
    dataset = build(image_folder)
    epoch_of(dataset, epoch=0)
    torch.manual_seed(2)
    np.random.seed(3)
    assert torch.equal(one, epoch_of(dataset, epoch=2, workers=2, batch_size=3))


@pytest.mark.parametrize('other', [dict(epoch=1), dict(draw=1)])
def test_another_epoch_or_draw_is_another_view(image_folder, other):
    dataset = build(image_folder)
    views = [dataset[SampleIndex(i, **options)] for options in ({}, other) for i in range(8)]
    same = [torch.equal(views[i]['inputs'], views[8 + i]['inputs']) for i in range(8)]
    assert sum(same) <= 1


def test_another_seed_is_another_view(image_folder):
    a, b = build(image_folder), build(image_folder, seed=1)
    assert sum(torch.equal(a[i]['inputs'], b[i]['inputs']) for i in range(8)) <= 1


def test_two_images_of_an_epoch_are_augmented_differently(image_folder):
    """Were all seeded alike, all would be cropped alike."""
    dataset = build(image_folder)
    brightness = [dataset[i]['inputs'].float().std().item() for i in range(8)]
    assert len(set(brightness)) == 8


@pytest.mark.parametrize('subset', [4, 8, 47])
def test_subset_keeps_each_class_its_share(image_folder, subset):
    dataset = build(image_folder, subset=subset)
    assert len(dataset) == subset
    labels = [dataset.get_data_info(i)['gt_label'] for i in range(subset)]
    counts = np.bincount(labels, minlength=4)
    assert counts.max() - counts.min() <= 1
    assert len({dataset.get_data_info(i)['img_path'] for i in range(subset)}) == subset
    assert [dataset.get_cat_ids(i)[0] for i in range(subset)] == labels


@pytest.mark.parametrize('subset', [0, 49])
def test_impossible_subset_names_the_size(image_folder, subset):
    with pytest.raises(DataError, match=f'subset={subset} .* 48 samples'):
        build(image_folder, subset=subset)


def test_metainfo_and_labels_pass_through(image_folder):
    dataset = build(image_folder)
    assert dataset.metainfo['classes'] == ('flower', 'one', 'temple', 'zero')
    sample = dataset[13]
    assert sample['data_samples'].gt_label.item() == dataset.get_data_info(13)['gt_label'] == 1


def test_unreadable_image_is_replaced_and_named_once(damaged, log):
    root, bad = damaged
    dataset = build(root)
    index = next(i for i in range(len(dataset)) if dataset.get_data_info(i)['img_path'] == str(bad))
    sample = dataset[index]
    dataset[index]
    replacement = dataset.get_data_info(index + 1)['img_path']
    assert sample['data_samples'].img_path == replacement
    named = [line for line in log() if str(bad) in line]
    assert len(named) == 1
    assert 'cannot be read as an image' in named[0]


def test_unreadable_image_stops_an_evaluation_by_name(damaged):
    root, bad = damaged
    dataset = build(root, on_unreadable='raise')
    with pytest.raises(DataError, match=f'{bad} cannot be read as an image'):
        for i in range(len(dataset)):
            dataset[i]


def test_an_empty_file_is_unreadable_too(damaged):
    root, bad = damaged
    bad.write_bytes(b'')
    dataset = build(root, on_unreadable='raise')
    with pytest.raises(DataError, match=f'{bad} cannot be read'):
        for i in range(12):
            dataset[i]


def test_many_unreadable_images_in_a_row_stop_the_run(damaged):
    root, _ = damaged
    for path in (root / 'train' / 'flower').iterdir():
        path.write_bytes(b'no')
    with pytest.raises(DataError, match='11 images in a row.*Check the data set'):
        build(root)[0]


def test_a_defect_of_the_pipeline_is_not_mistaken_for_a_bad_image(image_folder):
    dataset = build(image_folder)
    dataset.dataset.pipeline.transforms.insert(1, lambda results: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        dataset[0]


def test_unknown_reaction_names_the_choices(image_folder):
    with pytest.raises(ValueError, match="on_unreadable='ignore'.*'replace' or 'raise'"):
        build(image_folder, on_unreadable='ignore')
