"""Segmentation masks with labels beyond the classes."""

import numpy as np
import pytest
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mixae.datasets.seg_labels import CheckSegLabels


def results(*labels):
    return dict(gt_seg_map=np.array([labels], np.uint8), seg_map_path='masks/a.png')


def test_masks_of_known_classes_pass_unchanged():
    given = results(0, 149, 255)
    assert CheckSegLabels(150)(given) is given
    assert CheckSegLabels(150)(dict(gt_seg_map=np.zeros((0, 4), np.uint8)))


def test_a_label_beyond_the_classes_is_named_with_its_file():
    with pytest.raises(ValueError, match=r'masks/a.png holds the labels \[150, 200\]; there are'):
        CheckSegLabels(150)(results(3, 200, 150, 255))
    with pytest.raises(ValueError, match=r'\[150\]'):
        CheckSegLabels(150)(results(3, 150))
    with pytest.raises(ValueError, match=r'\[255\].*254 for none'):
        CheckSegLabels(150, ignore_index=254)(results(255, 254))


@pytest.mark.parametrize(
    'mask, message',
    [
        # mmseg's loader makes a 7 of it.
        (np.full((4, 4), 263, np.uint16), r'its mode I;16.*one channel of 8 bits'),
        (np.zeros((4, 4, 3), np.uint8), r'its shape is \(4, 4, 3\), its mode RGB'),
    ],
)
def test_what_is_no_8_bit_mask_is_named_before_labels_wrap_around(mask, message, tmp_path):
    path = str(tmp_path / 'a.png')
    Image.fromarray(mask).save(path)
    loaded = LoadAnnotations().transform(
        dict(seg_map_path=path, seg_fields=[], reduce_zero_label=False, label_map=None)
    )
    with pytest.raises(ValueError, match=f'a.png is no mask of labels: .*{message}'):
        CheckSegLabels(150)(loaded)


@pytest.mark.parametrize('mode', ['L', 'P', '1'])
def test_8_bit_masks_pass_in_every_form(mode, tmp_path):
    path = str(tmp_path / 'a.png')
    mask = Image.fromarray(np.eye(4, dtype=np.uint8) * (255 if mode == '1' else 1))
    mask = mask.convert('1') if mode == '1' else mask
    if mode == 'P':
        mask = mask.convert('P')
        mask.putpalette([0, 0, 0, 200, 10, 10])
    mask.save(path)
    loaded = LoadAnnotations().transform(
        dict(seg_map_path=path, seg_fields=[], reduce_zero_label=False, label_map=None)
    )
    assert (CheckSegLabels(2)(loaded)['gt_seg_map'] == np.eye(4)).all()
