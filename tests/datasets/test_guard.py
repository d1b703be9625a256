"""Files that cannot be read, and truth that does not fit its image."""

import errno
import os

import cv2
import mmcv
import numpy as np
import pytest
from mmdet.datasets import BaseDetDataset
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.registry import DefaultScope
from mmpretrain.datasets import CustomDataset
from mmseg.datasets import BaseSegDataset
from PIL import Image
from sklearn.datasets import load_sample_image

from mixae.datasets import SeededDataset, check_dataset
from mixae.datasets.guard import GuardedPipeline, UnreadableError, guard
from mixae.errors import DataError

WIDTH, HEIGHT = 48, 32


@pytest.fixture(scope='module')
def photo():
    return load_sample_image('china.jpg')[100 : 100 + HEIGHT, 200 : 200 + WIDTH]


@pytest.fixture
def scenes(photo, tmp_path):
    """Twelve images with masks in mmseg's layout; a function that reads them."""
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    for i in range(12):
        Image.fromarray(np.roll(photo, i, 1)).save(tmp_path / f'images/{i:02d}.jpg', quality=95)
        Image.fromarray((photo[..., 0] > 100).astype(np.uint8)).save(
            tmp_path / f'masks/{i:02d}.png'
        )

    def read(test_mode=False, load=None):
        with DefaultScope.overwrite_default_scope('mmseg'):
            data = BaseSegDataset(
                data_root=str(tmp_path),
                data_prefix=dict(img_path='images', seg_map_path='masks'),
                metainfo=dict(classes=('dark', 'bright')),
                test_mode=test_mode,
                pipeline=[
                    load or dict(type='LoadImageFromFile'),
                    *([dict(type='Resize', scale=(24, 16))] if test_mode else []),
                    dict(type='LoadAnnotations'),
                ],
            )
        check_dataset(data)
        return data

    read.root = tmp_path
    return read


def detection(path, width, height, **options):
    """A data set of one image, as COCO's would be."""

    class One(BaseDetDataset):
        def load_data_list(self):
            info = dict(img_path=str(path), img_id=0, width=width, height=height, instances=[])
            return [info]

    with DefaultScope.overwrite_default_scope('mmdet'):
        data = One(pipeline=[dict(type='LoadImageFromFile')], **options)
    check_dataset(data)
    return data


# ------------------------------------------------------------------------- files that are damaged


def damage(path, how):
    if how == 'empty':
        path.write_bytes(b'')
    elif how == 'no image':
        path.write_text('this is no picture')
    elif how == 'cut':
        path.write_bytes(path.read_bytes()[:40])
    else:
        path.unlink()


@pytest.mark.parametrize('file', ['images/03.jpg', 'masks/03.png'])
@pytest.mark.parametrize('how', ['empty', 'no image', 'cut', 'gone'])
def test_training_goes_on_with_another_sample_and_names_the_file_once(scenes, log, file, how):
    data = scenes()
    damage(scenes.root / file, how)
    for _ in range(3):
        sample = data[3]
        assert sample['img'].shape == (HEIGHT, WIDTH, 3)
        assert not sample['img_path'].endswith('03.jpg')
    (line,) = log()
    assert line.startswith(f'{scenes.root / file} cannot be read as an image: ')
    assert line.endswith('another sample of the data set takes its place.')
    reason = dict(empty='it is empty', gone='No such file or directory').get(how, 'it is damaged')
    assert (f'image: {reason}' in line) or (file[0] == 'm' and how == 'empty')


@pytest.mark.parametrize('file', ['images/03.jpg', 'masks/03.png'])
def test_evaluation_stops_with_the_file(scenes, file):
    data = scenes(test_mode=True)
    damage(scenes.root / file, 'empty')
    with pytest.raises(DataError, match=f'{scenes.root / file} cannot be read as an image'):
        data[3]


def test_more_than_ten_in_a_row_stop_training(scenes):
    data = scenes()
    for path in (scenes.root / 'images').iterdir():
        path.write_bytes(b'')
    with pytest.raises(DataError, match='cannot be read as an image: it is empty'):
        data[0]


def test_a_file_without_permission_is_named(scenes, monkeypatch):
    data = scenes(test_mode=True)

    def refuse(path, **_):  # root, which tests may be, reads everything
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(mmcv.transforms.loading.fileio, 'get', refuse)
    with pytest.raises(
        DataError, match=r'images/03\.jpg cannot be read as an image: Permission de'
    ):
        data[3]


def test_a_defect_of_the_pipeline_keeps_its_traceback(scenes):
    data = scenes()
    data.pipeline.transforms.append(lambda results: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        data[3]


def test_wrapped_data_sets_are_guarded_once(scenes):
    data = scenes()
    pipeline = data.pipeline
    for wrapper in (ConcatDataset([data]), RepeatDataset(data, 2)):
        check_dataset(wrapper)
        assert data.pipeline is pipeline and isinstance(pipeline, GuardedPipeline)
    assert pipeline.replace


def test_a_seeded_data_set_draws_the_replacement_itself(scenes):
    data = SeededDataset(scenes(), on_unreadable='replace')
    damage(scenes.root / 'images/03.jpg', 'empty')
    assert data[3]['img_path'].endswith('04.jpg')
    damage(scenes.root / 'masks/04.png', 'empty')
    assert data[3]['img_path'].endswith('05.jpg')
    with pytest.raises(UnreadableError, match='03.jpg'):
        SeededDataset(data.dataset, on_unreadable='raise')[3]


# ------------------------------------------------------------------------------ truth that fits


@pytest.mark.parametrize('test_mode', [True, False])
def test_a_mask_of_another_size_is_named(scenes, test_mode):
    path = scenes.root / 'masks/05.png'
    data = scenes(test_mode)
    Image.open(path).resize((WIDTH, HEIGHT + 1)).save(path)
    assert data[4] is not None
    with pytest.raises(
        DataError, match=r'05\.jpg has 48x32 pixels, but its mask .*05\.png\) says 48x33'
    ):
        data[5]


def test_sizes_of_the_annotation_file_that_are_not_the_images_are_named(scenes):
    path = scenes.root / 'images/00.jpg'
    assert detection(path, WIDTH, HEIGHT)[0]['img'].shape == (HEIGHT, WIDTH, 3)
    for width, height in ((HEIGHT, WIDTH), (WIDTH, HEIGHT - 1), (4, 4)):
        with pytest.raises(
            DataError, match=rf'48x32 pixels, but its annotation file says {width}x{height}'
        ):
            detection(path, width, height)[0]


# Where the first row and column of the stored image lie in the shown one, by EXIF orientation.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def store_turned(path, orientation, **options):
    """Store an image so that viewers, and decoders, show it as it was."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.open(path).convert('RGB').transpose(TURNS[orientation])
    stored.save(path, exif=exif, **options)


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp'])
@pytest.mark.parametrize('orientation', TURNS)
def test_an_image_turned_by_its_exif_fits_or_is_named(photo, tmp_path, orientation, suffix):
    path = tmp_path / f'a{suffix}'
    Image.fromarray(photo).save(path)
    upright = cv2.imread(str(path))
    store_turned(path, orientation)
    turns = cv2.imread(str(path)).shape != np.asarray(Image.open(path)).shape
    if orientation < 5:
        # Shown or stored: the size is the same, the boxes are not.
        with pytest.raises(DataError, match=rf'turned by its EXIF orientation {orientation}, and'):
            detection(path, WIDTH, HEIGHT)[0]
    elif turns:
        img = detection(path, WIDTH, HEIGHT)[0]['img']  # annotated as it is shown
        assert np.abs(img.astype(int) - upright).mean() < 12
        with pytest.raises(
            DataError, match=rf'48x32 pixels, turned by its EXIF .* {orientation}, b'
        ):
            detection(path, HEIGHT, WIDTH)[0]  # annotated as it is stored
    else:  # this decoder leaves this format as it is stored
        assert detection(path, HEIGHT, WIDTH)[0]['img'].shape == (WIDTH, HEIGHT, 3)


def test_a_square_image_on_its_side_is_named(photo, tmp_path):
    path = tmp_path / 'a.jpg'
    Image.fromarray(photo[:, :HEIGHT]).save(path)
    store_turned(path, 6)
    with pytest.raises(DataError, match='size does not tell whether boxes and masks'):
        detection(path, HEIGHT, HEIGHT)[0]


def test_masks_of_turned_images(scenes):
    store_turned(scenes.root / 'images/02.jpg', 6)
    data = scenes()
    assert data[2]['gt_seg_map'].shape == (HEIGHT, WIDTH)  # the mask is of the image as shown
    path = scenes.root / 'masks/02.png'
    Image.open(path).transpose(TURNS[6]).save(path)
    with pytest.raises(DataError, match='turned by its EXIF orientation 6, but its mask'):
        data[2]
    as_stored = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
    assert scenes(load=as_stored)[2]['img'].shape == (WIDTH, HEIGHT, 3)


@pytest.mark.parametrize('exif', [b'', b'nonsense', b'Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff'])
def test_exif_that_is_none_turns_nothing(photo, tmp_path, exif):
    path = tmp_path / 'a.jpg'
    Image.fromarray(photo).save(path, exif=exif)
    assert detection(path, WIDTH, HEIGHT)[0]['img'].shape == (HEIGHT, WIDTH, 3)


def test_classification_takes_images_as_they_are_shown(photo, tmp_path):
    (tmp_path / 'a').mkdir()
    Image.fromarray(photo).save(tmp_path / 'a/a.jpg')
    store_turned(tmp_path / 'a/a.jpg', 3)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        data = CustomDataset(str(tmp_path), pipeline=[dict(type='LoadImageFromFile')])
    check_dataset(data)
    assert data[0]['img'].shape == (HEIGHT, WIDTH, 3)


# --------------------------------------------------------------------------- more than eight bits


@pytest.mark.parametrize('suffix', ['.png', '.tiff', '.pgm'])
@pytest.mark.parametrize('kind', ['uint16', 'uint16 colour', 'float32', 'uint8', 'uint8 colour'])
def test_more_than_eight_bits_are_refused(photo, tmp_path, suffix, kind):
    image = photo if 'colour' in kind else photo[..., 0]
    if kind.startswith('uint16'):
        image = image.astype(np.uint16) * 16  # 12 bits: the upper 8 are the image divided by 16
    elif kind == 'float32':
        image = image.astype(np.float32) / 255
    path = tmp_path / f'a{suffix}'
    if (suffix == '.pgm' and 'colour' in kind) or (suffix != '.tiff' and kind == 'float32'):
        path = tmp_path / 'a.tiff'
    assert cv2.imwrite(str(path), image)
    data = detection(path, WIDTH, HEIGHT)
    if kind.startswith('uint8'):
        assert data[0]['img'].shape == (HEIGHT, WIDTH, 3)
    else:
        with pytest.raises(DataError, match=rf'{path} has more than 8 bits a channel'):
            data[0]


@pytest.mark.parametrize('mode', ['1', 'P', 'LA', 'RGBA'])
def test_other_images_of_eight_bits_or_less_pass(photo, tmp_path, mode):
    path = tmp_path / 'a.png'
    Image.fromarray(photo).convert(mode).save(path)
    assert detection(path, WIDTH, HEIGHT)[0]['img'].shape == (HEIGHT, WIDTH, 3)


def test_a_data_set_without_a_pipeline_stays_as_it_is():
    data = [1, 2, 3]
    guard(data)
    check_dataset(data)
    assert data == [1, 2, 3]
