"""Training and test images that must not be compared: other classes, or one class alone."""

import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from PIL import Image

from mixae.datasets import DigitScenes, ImageFolder, ImageNet, SeededDataset
from mixae.datasets.imagenet_variants import ImageNetVariant, imagenet_wnids
from mixae.datasets.splits import check_several_classes, check_splits, labels_of_images
from mixae.errors import ConfigError, DataError


def folder(root, *names, images=2):
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(images):
            Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(root / name / f'{i}.png')
    return root


def read(root, kind=ImageFolder, **options):
    return SeededDataset(kind(data_root=str(root), **options))


def test_labels_go_by_folder_and_never_by_place(tmp_path):
    trained = read(folder(tmp_path / 'train', 'ant', 'bee', 'cat'))
    fewer = read(folder(tmp_path / 'fewer', 'bee', 'cat'))
    with pytest.raises(ConfigError, match=r'classes 3 \(ant, bee, cat\), the test images 2 \(bee'):
        check_splits(trained, fewer)
    # The same names, and the same number of folders: 'bee' would be counted as 'ant'.
    named = dict(classes=['a', 'b', 'c'])
    others = folder(tmp_path / 'others', 'bee', 'cat', 'dog')
    with pytest.raises(ConfigError, match=r'folders 3 \(ant, bee, cat\), .* 3 \(bee, cat, dog\)'):
        check_splits(read(tmp_path / 'train', **named), read(others, **named))


def test_images_that_are_in_both_are_counted_and_named(tmp_path):
    root = folder(tmp_path / 'all', 'ant', 'bee', images=4)
    data = ImageFolder(data_root=str(root))
    for name, kept in (('a', (0, 1, 2)), ('b', (2, 3))):
        lines = [f'{kind}/{i}.png\n' for kind in ('ant', 'bee') for i in kept]
        (tmp_path / f'{name}.txt').write_text(''.join(lines))
    a, b = (SeededDataset(data, files=str(tmp_path / f'{name}.txt')) for name in 'ab')
    with pytest.raises(DataError, match=r'2 of the 4 test images are training images as .*/2\.png'):
        check_splits(a, b)
    fit, held_out = (SeededDataset(data, hold_out=0.5, part=part) for part in ('fit', 'held_out'))
    check_splits(fit, held_out)
    # The same folder by another path; the same folder of a class.
    (tmp_path / 'link').symlink_to(root)
    (tmp_path / 'part').mkdir()
    (tmp_path / 'part' / 'bee').symlink_to(root / 'bee')
    folder(tmp_path / 'part', 'ant')
    for other, count in (('link', 8), ('part', 4)):
        with pytest.raises(DataError, match=f'{count} of the'):
            check_splits(SeededDataset(data), read(tmp_path / other))


def test_images_without_a_file_are_told_by_what_holds_them(tmp_path):
    def digits(split, indices):
        options = dict(num_train=20, num_test=20)
        return DigitScenes(split, str(tmp_path), options, indices=indices)

    # Labels are alike: 10 classes by name, whichever occur.
    train, test = digits('train', range(10)), digits('test', range(10))
    check_splits(train, test)
    check_splits(train, digits('train', range(10, 20)))
    with pytest.raises(DataError, match=r'3 of the 10 .*image 7 of DigitScenes, .*train'):
        check_splits(train, digits('train', range(7, 17)))
    both = ConcatDataset([train, test])
    with pytest.raises(DataError, match='10 of the 10 test images'):
        check_splits(both, test)


def test_a_set_with_some_of_the_classes_has_empty_folders(tmp_path):
    trained = read(folder(tmp_path / 'train', 'ant', 'bee', 'cat'))
    (folder(tmp_path / 'some', 'bee', 'cat') / 'ant').mkdir()
    some = read(tmp_path / 'some')
    check_splits(trained, some)
    assert set(labels_of_images(some)) == {1, 2}


def test_images_of_one_class_are_refused(tmp_path):
    (folder(tmp_path / 'one', 'bee') / 'ant').mkdir()
    with pytest.raises(DataError, match=r'All 2 test images are of one class \(bee\)'):
        check_several_classes(read(tmp_path / 'one'), 'test')
    with pytest.raises(DataError, match='All 1 training images are of one class'):
        check_several_classes(
            SeededDataset(ImageFolder(data_root=str(folder(tmp_path / 'two', 'a', 'b'))), subset=1),
            'training',
        )
    check_several_classes(read(tmp_path / 'two', with_label=False), 'training')
    assert not set(labels_of_images(read(tmp_path / 'two', with_label=False)))


def test_a_folder_that_is_no_class_of_imagenet_moves_no_label(tmp_path):
    names = list(imagenet_wnids())
    for name in names:
        (tmp_path / 'val' / name).mkdir(parents=True)
    folder(tmp_path / 'more', names[7])
    (tmp_path / 'more' / names[7]).rename(tmp_path / 'val' / names[7] / 'inner')
    data = read(tmp_path, ImageNet, split='val')
    assert set(labels_of_images(data)) == {7}
    # ImageNet's variants name the same classes otherwise.
    check_splits(data, read(folder(tmp_path / 'a', names[3], names[9]), ImageNetVariant))
    (tmp_path / 'val' / names[2]).rename(tmp_path / 'val' / 'n99')
    with pytest.raises(DataError, match='n99 is no class of ImageNet'):
        read(tmp_path, ImageNet, split='val')
