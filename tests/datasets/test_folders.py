"""Folders of images: what is read, and what is left out with a word."""

import os

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmpretrain.datasets import CustomDataset
from mmseg.datasets import BaseSegDataset
from PIL import Image

from mixae.datasets import ImageFolder, ImageNet, SeededDataset, SegFolder, check_dataset
from mixae.datasets.checks import loading
from mixae.errors import DataError

# Eight pictures of eight kinds, as folders of users hold them.
SPELLINGS = ('a.jpg', 'b.JPG', 'c.JPEG', 'd.png', 'e.PNG', 'f.webp', 'g.tiff', 'h.bmp')


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def picture(path, size=(12, 9), value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(path)


@pytest.fixture
def classes(tmp_path):
    root = tmp_path / 'images'
    for name in ('cat', 'dog'):
        for file in SPELLINGS:
            picture(root / name / file)
    return root


def build(root, kind=ImageFolder, **options):
    return kind(data_root=str(root), pipeline=[dict(type='LoadImageFromFile')], **options)


def test_images_of_every_spelling_are_read(classes, log):
    data = build(classes)
    assert len(data) == 16 and data.metainfo['classes'] == ('cat', 'dog')
    assert {data[i]['img'].shape for i in range(16)} == {(9, 12, 3)}
    assert [data.get_data_info(i)['gt_label'] for i in range(16)] == [0] * 8 + [1] * 8
    assert log() == []


@pytest.mark.parametrize('junk', ['.ipynb_checkpoints', '__MACOSX', '.git', '.hidden'])
def test_folders_of_systems_and_editors_are_no_classes(classes, junk, log):
    expected = build(classes).get_gt_labels()
    for folder in (junk, f'cat/{junk}'):
        picture(classes / folder / 'x.jpg')
    picture(classes / 'cat' / '._a.jpg')
    data = build(classes)
    assert data.metainfo['classes'] == ('cat', 'dog')
    assert (data.get_gt_labels() == expected).all()
    assert log() == []


def test_what_is_left_out_is_counted_and_named(classes, log):
    for name in ('cat/notes.txt', 'dog/x.heic', 'dog/y.heic', 'readme'):
        (classes / name).write_text('?')
    picture(classes / 'stray.jpg')  # in no class
    assert len(build(classes)) == 16
    (line,) = log()
    assert f'{classes}: 5 of 21 files are left out, not .bmp, .jpeg, ' in line
    assert '.webp in a subfolder per class: 2 .heic, ' in line
    assert (
        '1 .txt' in line and '1 no suffix' in line and '1 .jpg' in line and 'cat/notes.txt' in line
    )


def test_without_labels_all_images_below_are_read(classes, log):
    picture(classes / 'stray.jpg')
    assert len(build(classes, with_label=False)) == 17
    assert log() == []


def test_the_order_is_mmpretrains(classes):
    """A run on data that mmpretrain reads does not change."""
    for name in ('b.c/1.jpg', 'b/2.jpg', 'b/c/0.jpg', 'b c/1.jpg', 'dog/10.jpg', 'dog/9.jpg'):
        picture(classes / name)
    for label in (True, False):
        ours = build(classes, with_label=label)
        theirs = build(classes, CustomDataset, with_label=label, extensions=ours.extensions)
        assert len(ours) == 22
        assert ours.metainfo == theirs.metainfo
        for i in range(22):
            assert ours.get_data_info(i) == theirs.get_data_info(i)


def test_an_empty_class_is_named(classes, log):
    (classes / 'emu').mkdir()
    assert build(classes).metainfo['classes'] == ('cat', 'dog', 'emu')
    assert log() == [f'{classes}: no image in 1 of 3 classes: emu.']


def test_no_image_at_all_names_folder_and_suffixes(tmp_path):
    (tmp_path / 'cat').mkdir()
    with pytest.raises(DataError, match=f'no image in {tmp_path}: it is empty'):
        build(tmp_path)
    for i in range(3):
        (tmp_path / 'cat' / f'{i}.heic').write_text('?')
    with pytest.raises(DataError, match='3 of 3 files are left out, not .bmp, .*: 3 .heic'):
        build(tmp_path)


def test_another_number_of_folders_than_classes_is_named(classes):
    with pytest.raises(DataError, match='has 2 subfolders, one per class, for 3 classes'):
        build(classes, classes=['a', 'b', 'c'])
    with pytest.raises(DataError, match='has 2 subfolders, one per class, for 1000 classes'):
        ImageNet(data_root=str(classes.parent), data_prefix='images')


def test_labels_of_a_list_beyond_the_classes_are_named(classes, tmp_path):
    (tmp_path / 'list.txt').write_text('cat/a.jpg 0\ndog/a.jpg 2\n')
    options = dict(ann_file=str(tmp_path / 'list.txt'), classes=['cat', 'dog'])
    with pytest.raises(DataError, match=r'dog/a.jpg the label 2; there are 2 classes, 0\.\.1'):
        build(classes, **options)
    (tmp_path / 'list.txt').write_text('cat/a.jpg 0\ndog/a.jpg 1\n')
    assert build(classes, **options).get_gt_labels().tolist() == [0, 1]


@pytest.mark.parametrize('text', ['cat/a.jpg\n', 'cat/a.jpg one\n', ''])
def test_a_list_that_is_none_is_one_line(classes, tmp_path, text):
    (tmp_path / 'list.txt').write_text(text)
    dataset = dict(
        type='mixae.ImageFolder', data_root=str(classes), ann_file=str(tmp_path / 'list.txt')
    )
    with pytest.raises(
        DataError, match=r"mixae.ImageFolder \(data_root=.*list\.txt'\) cannot be l"
    ):
        SeededDataset(dataset)


def test_mmpretrains_own_class_says_what_it_leaves_out(classes, log):
    check_dataset(build(classes, CustomDataset))
    (line,) = log()
    assert f'{classes}: 4 of 16 files are left out, not ' in line
    assert "(type='mixae.ImageFolder' takes them): 2 .webp, 2 .tiff" in line
    picture(classes / '.hidden' / 'x.jpg')
    with pytest.raises(
        DataError, match='.hidden would be a class, and is none. .*mixae.ImageFolder'
    ):
        check_dataset(build(classes, CustomDataset))


# ---------------------------------------------------------------------------------- segmentation


@pytest.fixture
def scenes(tmp_path):
    """Eight images of eight spellings with their masks."""
    for i, name in enumerate(SPELLINGS):
        picture(tmp_path / 'images' / name)
        mask = np.zeros((9, 12), np.uint8)
        mask[: i + 1] = 1
        path = tmp_path / 'masks' / f'{name[0]}.{"PNG" if i % 2 else "png"}'
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mask).save(path)
    return tmp_path


def segmentation(root, kind=SegFolder, **options):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return kind(
            data_root=str(root),
            data_prefix=dict(img_path='images', seg_map_path='masks'),
            metainfo=dict(classes=('ground', 'thing')),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
            **options,
        )


def test_images_of_every_spelling_are_paired_with_their_masks(scenes, log):
    data = segmentation(scenes)
    check_dataset(data)
    assert len(data) == 8 and log() == []
    rows = [(data[i]['gt_seg_map'] == 1).all(axis=1).sum() for i in range(8)]
    assert rows == [1, 2, 3, 4, 5, 6, 7, 8]  # each has its own


def test_one_suffix_alone_is_what_was_asked_for(scenes, log):
    data = segmentation(scenes, img_suffix='.jpg')
    assert [os.path.basename(data.get_data_info(i)['img_path']) for i in range(2)] == [
        'a.jpg',
        'b.JPG',
    ]
    assert len(data) == 2
    assert '6 of 8 files are left out, not .jpg: ' in log()[0]


def test_a_list_names_the_images(scenes):
    (scenes / 'list.txt').write_text('g\n\na\n')
    data = segmentation(scenes, ann_file='list.txt')
    assert [os.path.basename(data.get_data_info(i)['img_path']) for i in range(2)] == [
        'a.jpg',
        'g.tiff',
    ]
    (scenes / 'list.txt').write_text('a\nnone\n')
    with pytest.raises(DataError, match='1 of the 2 images of .*list.txt .*, none is the first'):
        segmentation(scenes, ann_file='list.txt')


def test_the_same_as_mmsegs_where_mmseg_reads_all(tmp_path):
    for name in ('b', 'a', 'sub/c', 'A'):
        picture(tmp_path / 'images' / f'{name}.jpg')
        picture(tmp_path / 'masks' / f'{name}.png')
    ours, theirs = (segmentation(tmp_path, kind) for kind in (SegFolder, BaseSegDataset))
    assert len(ours) == 4 and ours.metainfo == theirs.metainfo
    for i in range(4):
        assert ours.get_data_info(i) == theirs.get_data_info(i)


def test_images_without_a_mask_stop_with_their_number(scenes):
    for name in ('c.png', 'd.PNG'):
        (scenes / 'masks' / name).unlink()
    with pytest.raises(
        DataError, match=r'2 of 8 images have no mask in .*: c\.JPEG .*masks/c\.png'
    ):
        segmentation(scenes)


def test_two_images_for_one_mask_stop(scenes):
    picture(scenes / 'images' / 'a.png')
    with pytest.raises(DataError, match=r'holds a\.jpg and a\.png, which would have one mask'):
        segmentation(scenes)
    assert len(segmentation(scenes, img_suffix='.jpg')) == 2


def test_no_image_names_folder_and_suffix(scenes):
    with pytest.raises(
        DataError, match=r'There is no \.gif in .*images: .*: 8 of 8 files are left'
    ):
        segmentation(scenes, img_suffix='.gif')
    config = dict(
        type='mmseg.BaseSegDataset',
        data_root=str(scenes),
        data_prefix=dict(img_path='images'),
        img_suffix='.gif',
    )
    with pytest.raises(
        DataError, match=r'no sample .*images: 8 of 8 files are left out, not \.gif'
    ):
        with loading(config):
            segmentation(scenes, BaseSegDataset, img_suffix='.gif')


def test_mmsegs_own_class_says_what_it_leaves_out(scenes, log):
    for name in ('a', 'b'):
        Image.fromarray(np.eye(9, 12, dtype=np.uint8)).save(scenes / f'masks/{name}.png')
    check_dataset(segmentation(scenes, BaseSegDataset))
    (line,) = log()
    assert f'{scenes}/images: 7 of 8 files are left out, not .jpg (type=' in line
    assert "'mixae.SegFolder' takes them" in line and 'b.JPG' in line


# ------------------------------------------------------------------------------ classes of masks


def masks(root, *labels):
    for i, row in enumerate(labels):
        picture(root / f'images/{i}.jpg', size=(len(row), 1))
        (root / 'masks').mkdir(exist_ok=True)
        Image.fromarray(np.array([row, row], np.uint8)).save(root / f'masks/{i}.png')


@pytest.mark.parametrize('kind', [SegFolder, BaseSegDataset])
@pytest.mark.parametrize(
    'labels, options, found',
    [
        ([[0, 255], [0, 0], [255, 255]], {}, r'labels \[0, 255\]'),
        ([[0, 1], [1, 0]], dict(reduce_zero_label=True), r'labels \[0, 255\] \(after reduce_zero_'),
        ([[0, 0], [0, 0]], {}, r'labels \[0\]'),
        ([[0, 128], [128, 0]], {}, r'labels \[0, 128\]'),
    ],
)
def test_masks_of_less_than_two_classes_stop_at_start(tmp_path, kind, labels, options, found):
    masks(tmp_path, *labels)
    with pytest.raises(DataError, match=rf'{found}.*less than two of the 2 classes.*as 0\.\.1'):
        check_dataset(segmentation(tmp_path, kind, **options))


@pytest.mark.parametrize(
    'labels, options',
    [
        ([[0, 1]], {}),
        ([[0, 255], [0, 0], [0, 1]], {}),  # a rare class
        ([[1, 2], [0, 2]], dict(reduce_zero_label=True)),
    ],
)
def test_masks_of_two_classes_pass(tmp_path, labels, options):
    masks(tmp_path, *labels)
    check_dataset(segmentation(tmp_path, **options))


def test_a_class_that_is_a_text_is_named(scenes):
    data = segmentation(scenes)
    data._metainfo['classes'] = 'thing'
    with pytest.raises(DataError, match=r"is the text 'thing'.*a comma: \('thing',\)"):
        check_dataset(data)
