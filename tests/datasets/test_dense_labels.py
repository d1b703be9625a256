"""Segmentation masks with labels beyond the classes."""

import numpy as np
import pytest

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
    with pytest.raises(ValueError, match=r'\[255\].*254 for none'):
        CheckSegLabels(150, ignore_index=254)(results(255, 254))
