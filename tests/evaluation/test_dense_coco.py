"""The evaluator of the detection configs gives the numbers of pycocotools."""

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric as MMDetCocoMetric
from mmdet.registry import METRICS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from mixae.engine.hooks.record import _metrics_of_nothing_found
from mixae.evaluation import CocoMetric

ROOT = Path(__file__).parents[2] / 'configs'
CONFIGS = [
    *sorted((ROOT / 'transfer/coco').glob('*.py')),
    ROOT / 'transfer/digit_scenes/vitmini_detection.py',
]
pytestmark = pytest.mark.dense


def guesses(coco, rng):
    """Predictions of every kind, by image: near, doubled, of another class, missed, tied in score.

    Boxes are (x1, y1, x2, y2), as mmdet's detectors give them.
    """
    categories = sorted(coco.getCatIds())
    found = {image: [] for image in coco.getImgIds()}
    for annotation in coco.loadAnns(coco.getAnnIds()):
        for _ in range(rng.integers(0, 4)):
            right, down = rng.integers(-12, 13, 2)
            mask = np.roll(coco.annToMask(annotation), (down, right), (0, 1))
            x, y, width, height = annotation['bbox']
            box = np.array([x, y, x + width, y + height]) + np.tile([right, down], 2)
            category = annotation['category_id']
            found[annotation['image_id']].append(
                dict(
                    box=box + rng.normal(0, 4, 4),
                    label=categories.index(category if rng.random() < 0.8 else categories[0]),
                    score=round(rng.random(), 1),
                    mask=mask_utils.encode(np.asfortranarray(mask)),
                )
            )
    return found


def evaluate(metric, coco, found):
    metric.dataset_meta = dict(classes=[c['name'] for c in coco.loadCats(coco.getCatIds())])
    for image in coco.loadImgs(list(found)):
        guessed = found[image['id']]
        prediction = dict(
            bboxes=torch.tensor(np.array([g['box'] for g in guessed]).reshape(-1, 4)),
            scores=torch.tensor([g['score'] for g in guessed]),
            labels=torch.tensor([g['label'] for g in guessed], dtype=torch.int64),
            masks=copy.deepcopy([g['mask'] for g in guessed]),
        )
        size = (image['height'], image['width'])
        metric.process({}, [dict(img_id=image['id'], ori_shape=size, pred_instances=prediction)])
    return metric.evaluate(len(found))


@pytest.mark.data
@pytest.mark.parametrize('crowds', ['as it is', 'every fifth a crowd'])
def test_the_evaluator_gives_the_numbers_of_pycocotools(crowds, real_data, tmp_path):
    content = json.loads((real_data / 'mini-coco/annotations/instances_val2017.json').read_text())
    for number, annotation in enumerate(content['annotations']):
        annotation['iscrowd'] = int(crowds != 'as it is' and number % 5 == 0)
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps(content))
    coco = COCO(str(path))
    found = guesses(coco, np.random.default_rng(0))
    theirs, ours = (
        evaluate(kind(ann_file=str(path), metric=['bbox', 'segm']), coco, found)
        for kind in (MMDetCocoMetric, CocoMetric)
    )
    assert ours == theirs and len(ours) == 12
    # The data has objects of every size, and the guesses are neither right nor wrong throughout.
    assert all(0 < value < 0.9 for value in ours.values())


@pytest.mark.data
def test_images_that_were_not_evaluated_are_no_misses(real_data, tmp_path):
    path = str(real_data / 'mini-coco/annotations/instances_val2017.json')
    coco = COCO(path)
    found = guesses(coco, np.random.default_rng(0))
    few = {image: found[image] for image in list(found)[3:13]}
    part = dict(coco.dataset)
    part['images'] = [image for image in part['images'] if image['id'] in few]
    part['annotations'] = [a for a in part['annotations'] if a['image_id'] in few]
    of_few = tmp_path / 'few.json'
    of_few.write_text(json.dumps(part))
    theirs = evaluate(MMDetCocoMetric(ann_file=str(of_few), metric=['bbox', 'segm']), coco, few)
    metric = CocoMetric(ann_file=path, metric=['bbox', 'segm'])
    assert evaluate(metric, coco, few) == theirs
    # Another validation may be of other images.
    assert evaluate(metric, coco, found) == evaluate(
        MMDetCocoMetric(ann_file=path, metric=['bbox', 'segm']), coco, found
    )


@pytest.mark.data
def test_the_curves_agree_to_the_last_digits(real_data):
    from faster_coco_eval import COCOeval_faster
    from pycocotools.cocoeval import COCOeval

    coco = COCO(str(real_data / 'mini-coco/annotations/instances_val2017.json'))
    categories = sorted(coco.getCatIds())
    results = [
        dict(
            image_id=image,
            category_id=categories[one['label']],
            segmentation=one['mask'],
            score=one['score'],
        )
        for image, guessed in guesses(coco, np.random.default_rng(1)).items()
        for one in guessed
    ]
    curves = []
    for evaluator in (COCOeval, COCOeval_faster):
        evaluation = evaluator(coco, coco.loadRes(copy.deepcopy(results)), 'segm')
        evaluation.evaluate()
        evaluation.accumulate()
        curves.append(evaluation.eval)
    theirs, ours = curves
    for name in ('precision', 'recall', 'scores'):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_the_detection_configs_use_it(path):
    cfg = Config.fromfile(path)
    for name in ('val_evaluator', 'test_evaluator'):
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            evaluator = METRICS.build(cfg[name])
        assert isinstance(evaluator, CocoMetric) and evaluator.metrics == ['bbox', 'segm']


def test_nothing_found_is_an_ap_of_0_for_either_evaluator():
    for kind in (MMDetCocoMetric, CocoMetric):
        loop = SimpleNamespace(evaluator=SimpleNamespace(metrics=[kind(metric=['bbox', 'segm'])]))
        metrics = _metrics_of_nothing_found(SimpleNamespace(_val_loop=loop, _test_loop=None))
        assert metrics['coco/bbox_mAP'] == metrics['coco/segm_mAP_50'] == 0.0
