"""The evaluator of the detection configs gives the numbers of pycocotools."""

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.evaluation import CocoMetric as MMDetCocoMetric
from mmdet.registry import METRICS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from mixae.engine.hooks.record import _metrics_of_nothing_found
from mixae.errors import ConfigError, DataError
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
    # What ours says beyond: classes of the 80 that 100 images lack, or have as crowds alone.
    objects = {a['category_id'] for a in content['annotations'] if not a['iscrowd']}
    assert ours.pop('coco/classes_absent') == 80 - len(objects) > 0
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
    result = evaluate(metric, coco, few)
    assert result.pop('coco/classes_absent') > 30
    assert result == theirs
    # Another validation may be of other images.
    result = evaluate(metric, coco, found)
    assert result.pop('coco/classes_absent') < 30
    assert result == evaluate(MMDetCocoMetric(ann_file=path, metric=['bbox', 'segm']), coco, found)


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
            evaluator = METRICS.build(dict(cfg[name], ann_file=None))
        assert isinstance(evaluator, CocoMetric) and evaluator.metrics == ['bbox', 'segm']


# ------------------------------------------------------------------------------ ids of any kind

KINDS = {
    'integers from 0': lambda n: n,
    'integers in another order': lambda n: 97 * (n + 3) % 101,
    'negative integers': lambda n: -5 - n,
    'integers beyond 32 bits': lambda n: 2**40 + 7 * n,
    'integers beyond 64 bits': lambda n: 2**70 + n,
    'floats': lambda n: n + 0.5,
    'whole floats': float,
    'texts': lambda n: f'x{n:03d}',
    'texts of numbers': lambda n: str(n),
    'file names': lambda n: f'folder/{n} a.jpg',
}


def scenes(images=6, seed=0):
    """COCO tables with plain ids, 1, 2, ...: boxes on a grid, two classes, every fourth a crowd."""
    rng = np.random.default_rng(seed)
    tables = dict(
        images=[dict(id=1 + i, file_name=f'{i}.jpg', width=96, height=64) for i in range(images)],
        annotations=[],
        categories=[dict(id=1, name='square'), dict(id=2, name='disc')],
    )
    for image in tables['images']:
        for k in range(rng.integers(1, 4)):
            x, y, w, h = 32 * k + 2, *rng.integers(2, 30, 3).tolist()
            w = min(w, 28)
            number = len(tables['annotations']) + 1
            tables['annotations'].append(
                dict(
                    id=number,
                    image_id=image['id'],
                    category_id=1 + number % 2,
                    iscrowd=int(number % 4 == 0),
                    bbox=[x, y, w, h],
                    area=w * h,
                    segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]],
                )
            )
    return tables


def renamed(tables, image, annotation, category):
    """The same tables with other ids, each a function of the plain one."""
    tables = copy.deepcopy(tables)
    for row in tables['images']:
        row['id'] = image(row['id'])
    for row in tables['categories']:
        row['id'] = category(row['id'])
    for row in tables['annotations']:
        row['id'] = annotation(row['id'] - 1)
        row['image_id'], row['category_id'] = image(row['image_id']), category(row['category_id'])
    return tables


def predict(tables, image=lambda n: n, share=1.0, seed=0):
    """(image id, size, predictions): the truth, a share of it moved a little; scores often tie."""
    rng = np.random.default_rng(seed)
    api = COCO()
    api.dataset = copy.deepcopy(tables)
    api.createIndex()
    found = []
    for row in tables['images']:
        truth = api.loadAnns(api.getAnnIds(imgIds=[row['id']]))
        moved = [rng.integers(0, 6, 2) * (rng.random() > share) for _ in truth]
        x, y, w, h = np.array([one['bbox'] for one in truth], float).reshape(-1, 4).T
        right, down = np.array(moved).reshape(-1, 2).T
        masks = [
            np.roll(api.annToMask(one), (dy, dx), (0, 1))
            for one, (dx, dy) in zip(truth, moved, strict=True)
        ]
        prediction = dict(
            bboxes=torch.tensor(np.stack([x + right, y + down, x + w + right, y + h + down], 1)),
            scores=torch.tensor([round(float(rng.random()), 1) for _ in truth]),
            labels=torch.tensor([one['category_id'] - 1 for one in truth], dtype=torch.int64),
            masks=[mask_utils.encode(np.asfortranarray(mask)) for mask in masks],
        )
        size = (row['height'], row['width'])
        found.append(dict(img_id=image(row['id']), ori_shape=size, pred_instances=prediction))
    return found


def ours(tables, found, path, **options):
    path.write_text(json.dumps(tables))
    metric = CocoMetric(ann_file=str(path), metric=['bbox', 'segm'], **options)
    metric.dataset_meta = dict(classes=['square', 'disc'])
    metric.process({}, copy.deepcopy(found))
    return metric.evaluate(len(found))


def pycocotools_says(tables, found, path):
    """By mmdet's CocoMetric, which is pycocotools, on ids that it understands."""
    path.write_text(json.dumps(tables))
    metric = MMDetCocoMetric(ann_file=str(path), metric=['bbox', 'segm'])
    metric.dataset_meta = dict(classes=['square', 'disc'])
    metric.process({}, copy.deepcopy(found))
    return metric.evaluate(len(found))


@pytest.mark.parametrize('of', ['image', 'annotation', 'category'])
@pytest.mark.parametrize('kind', KINDS)
def test_a_perfect_detector_has_an_ap_of_1_with_ids_of_every_kind(kind, of, tmp_path):
    plain = scenes()
    ids = {name: KINDS[kind] if name == of else lambda n: n + 1 for name in ('image', 'annotation')}
    category = KINDS[kind] if of == 'category' else lambda n: n
    tables = renamed(plain, **ids, category=category)
    result = ours(tables, predict(plain, ids['image']), tmp_path / 'a.json')
    assert result['coco/bbox_mAP'] == result['coco/segm_mAP'] == 1.0


@settings(max_examples=40, deadline=None)
@given(
    kinds=st.tuples(*[st.sampled_from(sorted(KINDS))] * 3),
    seed=st.integers(0, 10**6),
    images=st.integers(1, 6),
)
def test_the_numbers_are_pycocotools_for_ids_of_every_kind(kinds, seed, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp('ids')
    plain = scenes(images, seed)
    image, annotation, category = (KINDS[kind] for kind in kinds)
    tables = renamed(plain, image, annotation, category)
    # The order of images settles ties: plain ids in the order of the given ones.
    rank = {n: 1 + i for i, n in enumerate(sorted(range(1, images + 1), key=image))}
    ranked = renamed(plain, rank.get, lambda n: n + 1, lambda n: n)
    theirs = pycocotools_says(ranked, predict(plain, rank.get, 0.4, seed), folder / 'plain.json')
    result = ours(tables, predict(plain, image, 0.4, seed), folder / 'a.json')
    absent = result.pop('coco/classes_absent', 0)
    assert result == pytest.approx(theirs, abs=1e-12)
    present = {row['category_id'] for row in plain['annotations'] if not row['iscrowd']}
    assert absent == 2 - len(present)


def test_result_files_carry_the_ids_of_the_annotation_file(tmp_path):
    plain = scenes()
    tables = renamed(plain, KINDS['texts'], KINDS['floats'], KINDS['texts'])
    prefix = tmp_path / 'results'
    for format_only in (False, True):
        options = dict(outfile_prefix=str(prefix), format_only=format_only)
        ours(tables, predict(plain, KINDS['texts']), tmp_path / 'a.json', **options)
        for kind in ('bbox', 'segm'):
            rows = json.loads((tmp_path / f'results.{kind}.json').read_text())
            assert {row['image_id'] for row in rows} == {f'x{n:03d}' for n in range(1, 7)}
            assert {row['category_id'] for row in rows} == {'x001', 'x002'}


# ------------------------------------------------------------------- truth that is not as it seems


def test_classes_without_an_object_are_named_and_counted(tmp_path, log):
    tables = scenes()
    tables['annotations'] = [row for row in tables['annotations'] if row['category_id'] == 1]
    result = ours(tables, predict(tables), tmp_path / 'a.json')
    assert result['coco/classes_absent'] == 1 and result['coco/bbox_mAP'] == 1.0
    (line,) = [line for line in log() if 'no object' in line]
    assert line.startswith('1 of 2 classes have no object in the 6 evaluated images (disc)')


@pytest.mark.parametrize('kind', ['theirs', 'ours', 'ours, from the samples'])
def test_nothing_found_is_an_ap_of_0(kind, tmp_path):
    """By mmdet's loader of results, or by the record, which makes up the zeros."""
    tables = scenes()
    tables['annotations'] = [row for row in tables['annotations'] if row['category_id'] == 1]
    found = predict(dict(tables, annotations=[]))
    (tmp_path / 'a.json').write_text(json.dumps(tables))
    options = dict(ann_file=None if 'samples' in kind else str(tmp_path / 'a.json'), metric='bbox')
    metric = MMDetCocoMetric(**options) if kind == 'theirs' else CocoMetric(**options)
    metric.dataset_meta = dict(classes=['square', 'disc'])
    metric.process({}, from_samples(tables, found) if 'samples' in kind else found)
    loop = SimpleNamespace(evaluator=SimpleNamespace(metrics=[metric]))
    runner = SimpleNamespace(_val_loop=loop, _test_loop=None)
    metrics = metric.evaluate(6) or _metrics_of_nothing_found(runner)
    assert [metrics[f'coco/bbox_{name}'] for name in ('mAP', 'mAP_50', 'mAP_75')] == [0, 0, 0]


@pytest.mark.parametrize('kind', ['none', 'crowds', 'of other images'])
def test_truth_without_an_object_is_no_result(tmp_path, kind, log):
    tables = scenes()
    found = predict(tables)
    if kind == 'none':
        tables['annotations'] = []
    elif kind == 'crowds':
        for row in tables['annotations']:
            row['iscrowd'] = 1
    else:
        tables['images'].append(dict(id=99, file_name='x.jpg', width=96, height=64))
        tables['annotations'] = [{**tables['annotations'][0], 'image_id': 99}]
    result = ours(tables, found, tmp_path / 'a.json')
    assert result['coco/bbox_mAP'] == result['coco/segm_mAP'] == -1  # pycocotools' undefined
    assert 'coco/classes_absent' not in result
    said = '\n'.join(log())
    assert '2 of 2 classes have no object' in said and 'AP is not defined' in said


def test_an_image_that_the_file_does_not_know_is_named(tmp_path):
    tables = scenes()
    found = predict(tables)
    found[2]['img_id'] = 'nobody'
    with pytest.raises(
        DataError, match="a.json of the evaluator lacks 1 of the 6 .* image 'nobody'"
    ):
        ours(tables, found, tmp_path / 'a.json')


def test_masks_are_needed_for_mask_ap_alone(tmp_path):
    tables = scenes()
    del tables['annotations'][1]['segmentation']
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(tables))
    with pytest.raises(DataError, match='1 of .* annotations have no mask .* is annotation 2'):
        CocoMetric(ann_file=str(path), metric=['bbox', 'segm']).dataset_meta = dict(
            classes=['square', 'disc']
        )
    other = ['disc' if tables['annotations'][1]['category_id'] == 1 else 'square']
    CocoMetric(ann_file=str(path), metric=['bbox', 'segm']).dataset_meta = dict(classes=other)
    CocoMetric(ann_file=str(path), metric='bbox').dataset_meta = dict(classes=['square', 'disc'])


def from_samples(tables, found, **changes):
    """Samples that bring their truth along, as those of digit scenes."""
    samples = []
    for sample, row in zip(found, tables['images'], strict=True):
        truth = [one for one in tables['annotations'] if one['image_id'] == row['id']]
        x, y, w, h = torch.tensor([one['bbox'] for one in truth], dtype=torch.float32).T
        instances = dict(
            bboxes=torch.stack([x, y, x + w, y + h], 1),
            labels=torch.tensor([one['category_id'] - 1 for one in truth]),
        )
        samples.append({**sample, 'gt_instances': instances, **changes})
    return samples


def test_truth_from_the_samples_is_that_of_each_evaluation():
    metric = CocoMetric(metric='bbox')
    metric.dataset_meta = dict(classes=['square', 'disc'])
    for seed in (0, 1):  # other images, of the same ids
        tables = scenes(seed=seed)
        metric.process({}, from_samples(tables, predict(tables), scale_factor=(1.0, 1.0)))
        assert metric.evaluate(6)['coco/bbox_mAP'] == 1.0


def test_truth_from_resized_samples_is_refused():
    tables = scenes()
    metric = CocoMetric(metric='bbox')
    with pytest.raises(ConfigError, match=r'ann_file=None .*resized \(by \(2.0, 2.0\)\)'):
        metric.process({}, from_samples(tables, predict(tables), scale_factor=(2.0, 2.0)))
