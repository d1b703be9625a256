"""mIoU that says which classes it is of."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.evaluation import IoUMetric as MMSegIoUMetric
from sklearn.metrics import jaccard_score

from mixae.errors import DataError
from mixae.evaluation import IoUMetric
from mixae.registry import METRICS

CONFIGS = Path(__file__).parents[2] / 'configs'
CLASSES = ('sky', 'tree', 'road', 'car')


def evaluate(truth, guess, classes=CLASSES, kind=IoUMetric):
    metric = kind(iou_metrics=['mIoU'])
    metric.dataset_meta = dict(classes=classes)
    for i, (label, predicted) in enumerate(zip(truth, guess, strict=True)):
        sample = dict(
            pred_sem_seg=dict(data=torch.from_numpy(predicted)[None]),
            gt_sem_seg=dict(data=torch.from_numpy(label)[None]),
            img_path=f'{i}.jpg',
            seg_map_path=f'{i}.png',
        )
        metric.process({}, [sample])
    return metric.evaluate(len(truth))


@pytest.fixture
def scenes():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (5, 8, 9))
    guess = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 4, truth.shape))
    return truth, guess


def test_it_is_mmsegs_and_scikit_learns_where_every_class_occurs(scenes):
    truth, guess = scenes
    truth[0, :2] = 255
    result = evaluate(truth, guess)
    assert result == evaluate(truth, guess, kind=MMSegIoUMetric)
    used = truth != 255
    expected = 100 * jaccard_score(truth[used], guess[used], average='macro')
    assert result['mIoU'] == pytest.approx(expected, abs=0.01)


def test_classes_without_a_pixel_are_named_and_counted(scenes, log):
    truth, guess = scenes
    truth[truth == 2] = 255
    result = evaluate(truth, guess)
    assert result.pop('classes_absent') == 1
    assert result == evaluate(truth, guess, kind=MMSegIoUMetric)
    said = '\n'.join(log())
    assert '1 of 4 classes have no pixel in the 5 evaluated images (road): the mean' in said


@pytest.mark.parametrize('value', [0, 255])
def test_less_than_two_classes_are_no_result(scenes, value, log):
    truth, guess = scenes
    truth[truth != 0] = 255
    if value == 255:
        truth[:] = 255
    result = evaluate(truth, guess)
    assert list(result) == ['aAcc', 'mIoU', 'mAcc'] and np.isnan(list(result.values())).all()
    absent = 3 if value == 0 else 4
    said = '\n'.join(log())
    assert f'{absent} of 4 classes have no pixel in the 5 evaluated images' in said
    assert 'not defined: any model would be perfect' in said


def test_a_single_class_is_what_was_asked_for(scenes):
    truth, guess = scenes
    assert evaluate(truth * 0, guess * 0, classes=('sky',))['mIoU'] == 100


def test_a_mask_of_another_size_is_named(scenes):
    truth, guess = scenes
    with pytest.raises(DataError, match=r'0\.png has 9x7 pixels, its image 0\.jpg 9x8'):
        evaluate(truth[:, :7], guess)


def test_a_label_beyond_the_classes_is_named(scenes):
    truth, guess = scenes
    truth[2, 3, 4] = 7
    with pytest.raises(DataError, match=r'2\.png holds the label 7; there are 4 classes'):
        evaluate(truth, guess)


def test_every_segmentation_config_uses_it():
    paths = [
        *(CONFIGS / 'transfer/ade20k').glob('*.py'),
        *(CONFIGS / 'transfer/digit_scenes').glob('*segmentation*.py'),
    ]
    assert len(paths) > 6
    for path in paths:
        cfg = Config.fromfile(path)
        for name in ('val_evaluator', 'test_evaluator'):
            with DefaultScope.overwrite_default_scope(cfg.default_scope):
                assert isinstance(METRICS.build(cfg[name]), IoUMetric)
