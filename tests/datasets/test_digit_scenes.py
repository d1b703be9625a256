"""Digit scenes: what is promised of the data is checked on the data itself."""

import contextlib
import errno
import functools
import json
import multiprocessing
import os
import pickle
import signal
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import mmdet.evaluation  # noqa: F401  (registers CocoMetric)
import mmseg.evaluation  # noqa: F401  (registers IoUMetric)
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData
from mmpretrain.datasets.transforms import PackInputs
from mmseg.datasets import BaseSegDataset
from PIL import Image
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from sklearn.linear_model import LogisticRegression

from mixae.datasets import digit_scenes
from mixae.datasets.digit_scenes import build, draw_picture, options, preview, sources
from mixae.errors import DataError
from mixae.registry import DATASETS, METRICS

SMALL = dict(num_train=24, num_test=12)
PARTS = ('classification', 'scenes')
FOLDERS = dict(train='training', test='validation')
load_once = functools.cache(sources.load_sources)
prepare = functools.partial(digit_scenes.prepare, sources=load_once)


@pytest.fixture(scope='module')
def material():
    return load_once()


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('digit_scenes')
    for part in PARTS:
        prepare(part, root, **SMALL)
    return root


def _files(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file()
    }


# ---------------------------------------------------------------- the same everywhere


@pytest.mark.parametrize('part', PARTS)
def test_one_seed_gives_the_same_files_and_another_does_not(part, root, tmp_path):
    first = _files(root / part)
    second = _files(prepare(part, tmp_path / 'same', **SMALL))
    assert first == second
    other = _files(prepare(part, tmp_path / 'other', seed=1, **SMALL))
    pictures = [n for n in first if n.startswith('images/') or n.endswith('images.npy')]
    assert pictures and all(first[n] != other[n] for n in pictures)


def test_two_worker_processes_make_what_one_makes(tmp_path, monkeypatch):
    counts = dict(num_train=200, num_test=1)  # 200 is where a second process starts to pay
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0})
    alone = prepare('classification', tmp_path / 'alone', **counts)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0, 1})
    used = []
    context = multiprocessing.get_context
    monkeypatch.setattr(multiprocessing, 'get_context', lambda m: used.append(m) or context(m))
    together = prepare('classification', tmp_path / 'together', **counts)
    assert used == ['fork']
    assert _files(alone) == _files(together)


def test_worker_processes_do_not_inherit_the_callers_handlers():
    # With one, a worker that is ended on the point of waiting for a task waits for good.
    for number in (signal.SIGTERM, signal.SIGHUP):
        before = signal.signal(number, lambda *_: None)
        try:
            with multiprocessing.get_context('fork').Pool(1, build._start_worker, (None,)) as pool:
                assert pool.apply(signal.getsignal, (number,)) == signal.SIG_DFL
                pool.close()
                pool.join()
        finally:
            signal.signal(number, before)


@pytest.mark.parametrize('part', PARTS)
def test_a_picture_does_not_depend_on_how_many_are_made(part, material):
    few, many = (build.make_options(part, num_train=n) for n in (3, 3000))
    a = draw_picture(part, few, 'train', 2, material)
    for i in (0, 1):  # nor on those drawn before it
        draw_picture(part, many, 'train', i, material)
    b = draw_picture(part, many, 'train', 2, material)
    assert np.array_equal(a.image, b.image) and np.array_equal(a.masks, b.masks)


# ---------------------------------------------------------------- training and test share nothing


def _provenance(root: Path, part: str, split: str) -> list[dict]:
    if part == 'classification':
        return json.loads((root / part / f'{split}_provenance.json').read_text())
    return json.loads((root / part / f'coco/provenance_{FOLDERS[split]}.json').read_text())


def test_splits_share_no_digit_sample_and_no_background(root, material):
    samples, areas = ({split: set() for split in FOLDERS} for _ in range(2))
    for part, split in product(PARTS, FOLDERS):
        for picture in _provenance(root, part, split):
            samples[split] |= set(picture['digit_samples'])
            areas[split] |= {tuple(area) for area in picture['areas']}
    assert samples['train'] and samples['test'] and not samples['train'] & samples['test']
    compared = 0
    for a, b in product(areas['train'], areas['test']):
        if a[0] == b[0]:
            compared += 1
            apart = max(a[1] - b[3], b[1] - a[3], a[2] - b[4], b[2] - a[4])
            assert apart >= sources.MARGIN, (a, b)
    assert compared > 50
    for name, x0, y0, x1, y1 in areas['train'] | areas['test']:
        height, width = material.photos[name].shape[:2]
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height


@pytest.mark.parametrize('part', PARTS)
@pytest.mark.parametrize('split', FOLDERS)
def test_pictures_do_not_change_when_all_other_material_does(part, split, material):
    """Not what the generator says it reads, but what it reads.

    Everything that the provenance of a picture leaves out is overwritten, the other split's samples
    and areas among it: the picture must stay as it is, bit for bit.
    """
    options = build.make_options(part)
    for i in range(4):
        before = draw_picture(part, options, split, i, material)
        garbled = sources.Sources(
            np.full_like(material.digits, 16),
            material.targets,
            {name: 255 - photo for name, photo in material.photos.items()},
        )
        for sample in before.samples_read:
            garbled.digits[sample] = material.digits[sample]
        for stuff_id, x0, y0, x1, y1 in before.areas_read:
            name = sources.STUFF[stuff_id].name
            garbled.photos[name][y0:y1, x0:x1] = material.photos[name][y0:y1, x0:x1]
        after = draw_picture(part, options, split, i, garbled)
        assert np.array_equal(before.image, after.image)
        # And it is made of them: it changes with its own material.
        digits = material.digits.copy()
        digits[before.samples_read[0]] = 16
        own = sources.Sources(digits, material.targets, material.photos)
        changed = draw_picture(part, options, split, i, own)
        assert not np.array_equal(before.image, changed.image)


def test_every_sample_is_in_one_split_and_every_digit_in_both(material):
    ids = np.concatenate([np.concatenate(material.samples[split]) for split in FOLDERS])
    assert np.array_equal(np.sort(ids), np.arange(1797))
    for split, digit in product(FOLDERS, range(10)):
        of_digit = material.samples[split][digit]
        assert len(of_digit) >= 30 and (material.targets[of_digit] == digit).all()


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize('split', FOLDERS)
def test_boxes_areas_and_masks_agree_with_pycocotools(root, split):
    coco = COCO(root / 'scenes' / 'coco' / f'instances_{FOLDERS[split]}.json')
    assert len(coco.imgs) == SMALL[f'num_{split}'] and len(coco.anns) > len(coco.imgs)
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        rle = coco.annToRLE(annotation)
        assert annotation['area'] == mask_utils.area(rle) == mask.sum() > 0
        assert annotation['bbox'] == mask_utils.toBbox(rle).tolist()
        ys, xs = np.nonzero(mask)
        x, y, w, h = annotation['bbox']
        assert (x, y, x + w, y + h) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert 0.85 <= annotation['visible'] <= 1


def test_semantic_labels_are_the_masks_over_the_backgrounds(root, material):
    coco = COCO(root / 'scenes' / 'coco' / 'instances_training.json')
    provenance = _provenance(root, 'scenes', 'train')
    names = [stuff.name for stuff in sources.STUFF]
    for i, image in coco.imgs.items():
        labels = np.asarray(Image.open(root / 'scenes/annotations/training' / image['file_name']))
        covered = np.zeros(labels.shape, int)
        for annotation in coco.imgToAnns[i]:
            mask = coco.annToMask(annotation).astype(bool)
            covered += mask
            digit = material.targets[annotation['sample']]
            assert annotation['category_id'] == digit + 1
            assert (labels[mask] == annotation['category_id']).all()
        assert covered.max() == 1  # visible masks never overlap
        assert not (((labels >= 1) & (labels <= 10)) & (covered == 0)).any()
        stuff = {names[k - 11] for k in np.unique(labels[labels > 10])}
        assert stuff and stuff <= {area[0] for area in provenance[i]['areas']}
        assert (labels == 0).mean() < 0.15


def test_a_later_digit_hides_an_earlier_one(material):
    options = build.make_options('scenes')
    hidden = 0
    for i in range(40):
        scene = draw_picture('scenes', options, 'train', i, material)
        assert scene.masks.sum(axis=0).max() == 1
        hidden += sum(share < 1 for share in scene.visible)
        assert min(scene.visible) >= 0.85 and scene.visible[-1] == 1
    assert hidden > 5


def test_classes_are_balanced_and_labels_are_the_samples_digits(root, material):
    labels = np.load(root / 'classification/train_labels.npy')
    assert np.ptp(np.bincount(labels, minlength=10)) <= 1
    assert sorted(labels[:10]) == sorted(labels[10:20]) == list(range(10))
    assert labels[:10].tolist() != labels[10:20].tolist()  # not periodic
    for label, picture in zip(labels, _provenance(root, 'classification', 'train'), strict=True):
        assert material.targets[picture['digit_samples'][0]] == label


@pytest.mark.filterwarnings('ignore:lbfgs failed to converge')
def test_a_linear_model_on_pixels_is_far_from_solving_it(material):
    """It reads 0.18 of the test split (and 0.51 of its own 600 pictures) where chance is 0.10."""
    options = build.make_options('classification')

    def draw(split, count):
        scenes = [draw_picture('classification', options, split, i, material) for i in range(count)]
        return (
            np.stack([s.image[::2, ::2].ravel() / 255 for s in scenes]),
            np.array([s.digits[0] for s in scenes]),
        )

    pixels, labels = draw('train', 600)
    model = LogisticRegression(C=0.01, max_iter=30).fit(pixels, labels)
    assert model.score(*draw('test', 300)) < 0.3


def test_a_digit_stands_out_from_its_background(material):
    """Inside and outside of the mask differ in brightness: the picture can be read."""
    options = build.make_options('classification')
    differences = []
    for i in range(60):
        scene = draw_picture('classification', options, 'train', i, material)
        grey = np.asarray(Image.fromarray(scene.image).convert('L')).astype(float)
        differences.append(abs(grey[scene.masks[0]].mean() - grey[~scene.masks[0]].mean()))
    assert np.percentile(differences, 5) > 25


# ---------------------------------------------------------------- in mmpretrain, mmdet and mmseg


def test_mmpretrain_reads_it(root):
    dataset = DATASETS.build(
        dict(
            type='mixae.DigitScenes',
            split='test',
            data_root=str(root),
            options=SMALL,
            pipeline=[PackInputs()],
        )
    )
    assert len(dataset) == 12 and len(dataset.CLASSES) == 10
    item = dataset[3]
    stored = np.load(root / 'classification/test_images.npy')
    assert item['inputs'].shape == (3, 64, 64)
    # OpenMMLab's pictures are BGR.
    assert np.array_equal(item['inputs'].numpy(), stored[3].transpose(2, 0, 1)[::-1])
    labels = np.load(root / 'classification/test_labels.npy').tolist()
    assert item['data_samples'].gt_label.item() == labels[3]
    assert item['data_samples'].img_shape == (64, 64)
    assert dataset.get_gt_labels().tolist() == labels
    packed = pickle.dumps(dataset)
    assert len(packed) < stored.nbytes / 2  # pixels stay on disk
    assert np.array_equal(pickle.loads(packed)[3]['inputs'], item['inputs'])
    subset = digit_scenes.DigitScenes('train', str(root), SMALL, indices=[5, 7])
    labels = np.load(root / 'classification/train_labels.npy').tolist()
    assert [subset[k]['gt_label'] for k in range(2)] == [labels[5], labels[7]]
    assert [subset[k]['img_id'] for k in range(2)] == [5, 7]


COCO_PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='mmdet.PackDetInputs'),
]


def test_mmdet_reads_it_with_its_own_class_and_with_ours(root):
    ours = DATASETS.build(
        dict(
            type='mixae.DigitScenesCoco',
            data_root=str(root),
            options=SMALL,
            pipeline=COCO_PIPELINE,
        )
    )
    stock = CocoDataset(
        data_root=str(root / 'scenes'),
        ann_file='coco/instances_training.json',
        data_prefix=dict(img='images/training/'),
        metainfo=dict(classes=build.DIGIT_NAMES),
        pipeline=COCO_PIPELINE,
    )
    coco = COCO(root / 'scenes/coco/instances_training.json')
    assert len(ours) == len(stock) == 24
    for i in range(len(ours)):
        a, b = ours[i], stock[i]
        assert np.array_equal(a['inputs'], b['inputs']) and a['inputs'].shape == (3, 128, 128)
        truth = a['data_samples'].gt_instances
        assert np.array_equal(truth.labels, b['data_samples'].gt_instances.labels)
        expected = [coco.annToMask(x) for x in coco.imgToAnns[a['data_samples'].img_id]]
        assert np.array_equal(truth.masks.masks, np.stack(expected))


SEG_PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='mmseg.LoadAnnotations', reduce_zero_label=True),
    dict(type='mmseg.PackSegInputs'),
]


def test_mmseg_reads_it_with_its_own_class_and_with_ours(root):
    ours = DATASETS.build(
        dict(
            type='mixae.DigitScenesSeg',
            split='test',
            data_root=str(root),
            options=SMALL,
            pipeline=SEG_PIPELINE,
        )
    )
    stock = BaseSegDataset(
        data_root=str(root / 'scenes'),
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        img_suffix='.png',
        reduce_zero_label=True,
        metainfo=dict(classes=ours.metainfo['classes'], palette=ours.metainfo['palette']),
        pipeline=SEG_PIPELINE,
    )
    assert len(ours) == len(stock) == 12 and len(ours.metainfo['classes']) == 20
    for i in range(12):
        a, b = ours[i], stock[i]
        assert np.array_equal(a['inputs'], b['inputs'])
        seen = a['data_samples'].gt_sem_seg.data.numpy()[0]
        assert np.array_equal(seen, b['data_samples'].gt_sem_seg.data.numpy()[0])
        raw = np.asarray(Image.open(a['data_samples'].seg_map_path)).astype(int)
        assert np.array_equal(seen, np.where(raw == 0, 255, raw - 1))


CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'


def _loader(name: str, kind: str, root: Path):
    """The data loader of a base config, with nothing but data root, options and workers set.

    Crops follow the encoder's size, which a base config of data does not name: 64 here.
    """
    config = Config.fromfile(CONFIGS / f'digit_scenes_{name}.py')
    loader = config[f'{kind}_dataloader']
    inner = loader.dataset.get('dataset', loader.dataset)
    inner.update(data_root=str(root), options=SMALL)
    for step in inner.pipeline:
        step.update({k: 64 for k in ('scale', 'crop_size') if step.get(k, 0) in (None, 'auto')})
    loader.update(num_workers=0, persistent_workers=False, batch_size=4)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return config, Runner.build_dataloader(loader, seed=0)


@pytest.mark.parametrize('name', ['pretrain', 'cls', 'coco', 'seg'])
def test_the_base_configs_give_batches(name, root):
    _, loader = _loader(name, 'train', root)
    batch = next(iter(loader))
    edge = 128 if name in ('coco', 'seg') else 64
    assert [tuple(x.shape) for x in batch['inputs']] == [(3, edge, edge)] * 4
    assert len(batch['data_samples']) == 4


def test_the_truth_scores_one_in_stock_coco_metrics(root):
    config, loader = _loader('coco', 'val', root)
    metric = METRICS.build(config.val_evaluator)
    metric.dataset_meta = loader.dataset.metainfo
    for batch in loader:
        for sample in batch['data_samples']:
            truth = sample.gt_instances
            truth.bboxes = truth.bboxes.tensor  # as mmdet's data preprocessor
            sample.pred_instances = InstanceData(
                bboxes=truth.bboxes,
                labels=truth.labels,
                scores=torch.ones(len(truth)),
                masks=torch.from_numpy(truth.masks.masks).bool(),
            )
        metric.process(batch, [sample.to_dict() for sample in batch['data_samples']])
    scores = metric.evaluate(len(loader.dataset))
    assert scores['coco/bbox_mAP'] == scores['coco/segm_mAP'] == 1


def test_the_truth_scores_one_in_stock_miou(root):
    config, loader = _loader('seg', 'val', root)
    metric = METRICS.build(config.val_evaluator)
    metric.dataset_meta = loader.dataset.metainfo
    for batch in loader:
        for sample in batch['data_samples']:
            guess = sample.gt_sem_seg.data.clone()
            guess[guess == 255] = 0  # ignored pixels may say anything
            sample.pred_sem_seg = PixelData(data=guess)
        metric.process(batch, [sample.to_dict() for sample in batch['data_samples']])
    assert metric.evaluate(len(loader.dataset))['aAcc'] == 100


def test_a_dataset_makes_its_data_on_first_use(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('MIXAE_DIGIT_SCENES', str(tmp_path / 'of_the_variable'))
    lazy = digit_scenes.DigitScenes(options=SMALL, lazy_init=True)
    assert not any(tmp_path.iterdir())
    lazy.full_init()
    assert (tmp_path / 'of_the_variable/classification/manifest.json').is_file()
    said = capsys.readouterr().out.strip().splitlines()
    assert len(said) == 1 and 'of_the_variable' in said[0] and said[0].endswith(' s.')
    digit_scenes.DigitScenes(options=SMALL)
    assert capsys.readouterr().out == ''


# ---------------------------------------------------------------- damage, crowds, kills


@pytest.mark.parametrize(
    ('part', 'name'),
    [
        ('classification', 'test_images.npy'),
        ('classification', 'manifest.json'),
        ('scenes', 'images/training/000003.png'),
        ('scenes', 'annotations/validation/000001.png'),
        ('scenes', 'coco/instances_training.json'),
    ],
)
@pytest.mark.parametrize('how', ['flip', 'cut', 'remove'])
def test_damage_is_found_named_and_made_good(part, name, how, tmp_path, capsys):
    counts = dict(num_train=4, num_test=2)
    folder = prepare(part, tmp_path, **counts)
    good = _files(folder)
    path = folder / name
    if how == 'flip':
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 128
        path.write_bytes(data)
    elif how == 'cut':
        path.write_bytes(path.read_bytes()[:-1])
    elif name == 'manifest.json':
        path.unlink()
        with pytest.raises(DataError, match='has no manifest.json'):
            prepare(part, tmp_path, **counts)
        assert _files(folder).keys() == good.keys() - {name}  # nothing of it was touched
        return
    else:
        path.unlink()
    capsys.readouterr()
    prepare(part, tmp_path, **counts)
    assert name in capsys.readouterr().out
    assert _files(folder) == good
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith('.lock')] == [part]


def test_data_of_other_options_is_refused_and_kept(root):
    with pytest.raises(DataError, match=r'seed=0 \(asked for: 5\)'):
        prepare('scenes', root, seed=5, **SMALL)
    prepare('scenes', root, **SMALL)


def test_data_of_an_older_version_is_made_again(tmp_path, capsys):
    folder = prepare('classification', tmp_path, num_train=2, num_test=2)
    manifest = json.loads((folder / 'manifest.json').read_text())
    (folder / 'manifest.json').write_text(json.dumps({**manifest, 'version': 0}))
    prepare('classification', tmp_path, num_train=2, num_test=2)
    assert 'version 0' in capsys.readouterr().out
    assert json.loads((folder / 'manifest.json').read_text()) == manifest


def test_a_stranger_among_the_pictures_is_refused(tmp_path):
    folder = prepare('scenes', tmp_path, num_train=2, num_test=2)
    stranger = folder / 'images' / 'training' / 'holiday.png'
    Image.new('RGB', (9, 9)).save(stranger)
    with pytest.raises(DataError, match='holiday.png'):
        prepare('scenes', tmp_path, num_train=2, num_test=2)
    assert stranger.is_file()


def _prepare_in_process(root: str, said: str, counts: dict) -> None:
    with open(said, 'w') as f, contextlib.redirect_stdout(f):
        prepare('classification', root, **counts)


def test_two_processes_at_once_build_once(tmp_path):
    counts = dict(num_train=150, num_test=10)
    fork = multiprocessing.get_context('fork')
    crowd = [
        fork.Process(
            target=_prepare_in_process, args=(tmp_path / 'data', tmp_path / f'said{k}', counts)
        )
        for k in range(2)
    ]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join(60)
    assert [process.exitcode for process in crowd] == [0, 0]
    assert sum((tmp_path / f'said{k}').read_text().count(' made in ') for k in range(2)) == 1
    assert _files(tmp_path / 'data/classification') == _files(
        prepare('classification', tmp_path / 'alone', **counts)
    )


def _children(pid: int) -> list[int]:
    return [int(c) for c in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def test_a_killed_build_leaves_nothing_behind_that_counts(tmp_path):
    counts = dict(num_train=4000, num_test=10)  # seconds of work, in two processes of its own
    fork = multiprocessing.get_context('fork')
    process = fork.Process(target=prepare, args=('classification', tmp_path), kwargs=counts)
    process.start()
    until = time.monotonic() + 30
    while not list(tmp_path.glob('.classification.building-*/train_images.npy')):
        assert process.is_alive() and time.monotonic() < until
        time.sleep(0.01)
    time.sleep(0.2)
    workers = _children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (tmp_path / 'classification').exists()
    leftovers = set(tmp_path.glob('.classification.building-*'))
    assert len(leftovers) == 1
    small = dict(num_train=6, num_test=3)
    prepare('classification', tmp_path, **small)
    assert not leftovers & set(tmp_path.iterdir())
    assert _files(tmp_path / 'classification') == _files(
        prepare('classification', tmp_path / 'alone', **small)
    )
    while any(Path(f'/proc/{worker}').exists() for worker in workers):  # they see it and end
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_build_whose_worker_is_killed_ends_in_one_line(tmp_path, monkeypatch):
    parent, draw = os.getpid(), build.draw_picture

    def die_at_250(part, options, split, i, material):
        if i == 250 and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(part, options, split, i, material)

    monkeypatch.setattr(build, 'draw_picture', die_at_250)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0, 1})
    with pytest.raises(DataError, match='a process that draws pictures was killed.*Run this again'):
        prepare('classification', tmp_path, num_train=600, num_test=1)
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith('.lock')] == []


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize('part', PARTS)
def test_a_disk_that_fills_up_while_a_worker_writes_is_named(tmp_path, monkeypatch, part, number):
    def full(part, options, split, i, material):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(build, 'draw_picture', full)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0, 1})
    said = r'cannot be read or written \(Read-only' if number == errno.EROFS else 'no space left'
    with pytest.raises(DataError, match=said):
        prepare(part, tmp_path, num_train=300, num_test=1)
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith('.lock')] == []


def test_space_is_taken_before_pictures_are_written_to_it(tmp_path, monkeypatch):
    """A memory map over a hole in a file on a full disk ends the process, with a bus error."""

    def full(fd, start, size):
        assert size == os.fstat(fd).st_size > 24 * 64 * 64 * 3
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'posix_fallocate', full)
    with pytest.raises(DataError, match='no space left'):
        prepare('classification', tmp_path, **SMALL)


def test_who_waits_says_for_whom(tmp_path):
    fork = multiprocessing.get_context('fork')
    said = tmp_path / 'said'
    root = tmp_path / 'data'
    root.mkdir()
    with build._lock(root, 'classification'):
        waiting = fork.Process(
            target=_prepare_in_process, args=(root, said, dict(num_train=2, num_test=2))
        )
        waiting.start()
        until = time.monotonic() + 30
        while not (said.exists() and 'waiting' in said.read_text()):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert waiting.is_alive()
    waiting.join(60)
    assert waiting.exitcode == 0
    first, *rest = said.read_text().splitlines()
    assert first.startswith(f'Digit scenes: waiting for process {os.getpid()} on ')
    assert f'which is making {root}/classification' in first
    assert [' made in ' in line for line in rest] == [True]
    assert not list(root.glob('*.owner'))


def test_a_failing_build_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError('in the middle')

    monkeypatch.setattr(build, 'draw_picture', fail)
    with pytest.raises(RuntimeError, match='in the middle'):
        prepare('scenes', tmp_path, **SMALL)
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith('.lock')] == []


# ---------------------------------------------------------------- looking


def test_the_contact_sheet_shows_what_is_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(
        options, 'DEFAULTS', {p: build.make_options(p, num_train=1, num_test=24) for p in PARTS}
    )
    for part in PARTS:
        prepare(part, tmp_path / 'data')
    preview.save_contact_sheet(tmp_path / 'a/b.png', split='test', data_root=tmp_path / 'data')
    assert Image.open(tmp_path / 'a/b.png').size == (960, 720)
    sheet = np.asarray(preview.contact_sheet('test', tmp_path / 'data'))
    first = np.load(tmp_path / 'data/classification/test_images.npy')[0]
    corner = sheet[preview.TITLE, 0]
    assert np.array_equal(corner, first[0, 0])


# ---------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(seed=-1), 'seed=-1'),
        (dict(size=16), 'size=16'),
        (dict(num_train=0), 'num_train=0'),
        (dict(num_test=2.5), 'num_test=2.5'),
        (dict(digits=(3, 2)), r'digits=\(3, 2\)'),
        (dict(digits=(1, 99)), 'digits='),
        (dict(backgrounds=(0, 1)), 'backgrounds='),
        (dict(height=(0.0, 0.5)), 'height='),
        (dict(count=5), "'count'.*num_train"),
    ],
)
def test_wrong_options_are_named_before_anything_is_made(wrong, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        prepare('scenes', tmp_path / 'data', **wrong)
    with pytest.raises(ValueError, match=message):
        digit_scenes.DigitScenesSeg(data_root=str(tmp_path / 'data'), options=wrong, lazy_init=True)
    assert not (tmp_path / 'data').exists()


@pytest.mark.parametrize(
    'name', ['DigitScenes', 'DigitScenesCoco', 'DigitScenesImages', 'DigitScenesSeg']
)
def test_an_unknown_split_is_named(name, tmp_path):
    with pytest.raises(ValueError, match="split='val'.*train, test"):
        getattr(digit_scenes, name)(split='val', data_root=str(tmp_path), lazy_init=True)


@pytest.mark.parametrize('name', ['DigitScenesCoco', 'DigitScenesImages', 'DigitScenesSeg'])
def test_scenes_have_a_folder_for_each_set_of_options(name, tmp_path):
    # The default scenes stay where they are beside those of a folder.
    for folder, digits in (('', (1, 1)), ('many', (2, 3))):
        options = dict(num_train=3, num_test=1, digits=digits)
        data = getattr(digit_scenes, name)(
            data_root=str(tmp_path), folder=folder, options=options, pipeline=[]
        )
        paths = [Path(data[i]['img_path']) for i in range(len(data))]
        assert [path.name for path in paths] == ['000000.png', '000001.png', '000002.png']
        assert {path.parents[2] for path in paths} == {tmp_path / folder / 'scenes'}
        coco = json.loads((tmp_path / folder / 'scenes/coco/instances_training.json').read_text())
        assert len(coco['annotations']) <= 3 * digits[1]
    assert 'gt_label' not in data[0]


def test_an_unknown_part_is_named(tmp_path):
    with pytest.raises(ValueError, match="part='seg'.*classification, scenes"):
        prepare('seg', tmp_path)


def test_a_root_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('not a folder')
    with pytest.raises(DataError, match='file/data cannot be read or written .*data_root'):
        prepare('scenes', tmp_path / 'file' / 'data', **SMALL)


def test_a_full_disk_is_named_before_work_starts(tmp_path, monkeypatch):
    usage = build.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(build.shutil, 'disk_usage', lambda path: usage._replace(free=1000))
    monkeypatch.setattr(build, 'draw_picture', None)
    with pytest.raises(DataError, match=r'no space left.*needs about \d+ MB'):
        prepare('scenes', tmp_path, **SMALL)


def test_a_source_picture_that_is_missing_is_named(monkeypatch):
    gone = sources.Stuff('brick', 'skimage', 'data/no_such.png', None, (0, 0, 0))
    monkeypatch.setattr(sources, 'STUFF', (gone,))
    with pytest.raises(DataError, match='data/no_such.png.*scikit-image'):
        sources.load_sources()


@pytest.mark.parametrize('content', [b'', b'no picture', b'\x89PNG\r\n\x1a\n' + b'\0' * 40, None])
def test_a_source_picture_that_is_damaged_is_named(tmp_path, monkeypatch, content):
    good = sources.STUFF[0]
    spec = sources.importlib.util.find_spec(good.package)
    data = (Path(spec.submodule_search_locations[0]) / good.file).read_bytes()
    path = tmp_path / 'brick.png'
    path.write_bytes(data[: len(data) // 2] if content is None else content)
    monkeypatch.setattr(sources, 'STUFF', (replace(good, file=str(path)),))
    with pytest.raises(DataError, match='brick.png cannot be read: pip install --force-reinstall'):
        sources.load_sources()


@pytest.mark.parametrize('error', [EOFError('cut'), ValueError('no number'), OSError('bad gzip')])
def test_digits_that_are_damaged_are_named(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr('sklearn.datasets.load_digits', fail)
    with pytest.raises(DataError, match=f'digits that ship inside scikit-learn.*{error}'):
        sources.load_sources()


def test_the_size_foretold_is_enough(root):
    for part in PARTS:
        taken = sum(p.stat().st_size for p in (root / part).rglob('*') if p.is_file())
        assert taken < build._megabytes(part, build.make_options(part, **SMALL)) * 1e6
