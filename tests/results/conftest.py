"""Records as a run would write them, for the tests of this folder."""

import itertools

import pytest

from mixae.results.record import SCHEMA_VERSION, metric, new_record, write_record

_SHA = 'a' * 64
_SERIAL = itertools.count()


def _pretraining(**changes):
    return (
        dict(
            checkpoint='epoch_12.pth',
            sha256=_SHA,
            config='mae_vitt_cifar10',
            config_sha256=_SHA,
            dataset='CIFAR-10',
            epochs=12,
            images_seen=180_000,
            seconds=400.0,
            device='CPU: one',
            device_count=1,
            flops=1e14,
            labels_in_pretraining=False,
            teacher=None,
            seed=0,
            commit='b' * 40,
        )
        | changes
    )


def _record_fields(**changes):
    """Every field given, so that nothing of this machine enters."""
    value = changes.pop('value', 50.0)
    pretraining = changes.pop('pretraining', {})
    return (
        dict(
            schema_version=SCHEMA_VERSION,
            id=f'{next(_SERIAL):012x}',
            created='2025-01-02T03:04:05Z',
            task='linear',
            protocol=dict(name='linear probe', version=1),
            method='mae',
            variant={},
            backbone=dict(arch='vit-tiny', patch_size=4, img_size=32),
            dataset=dict(
                name='CIFAR-10',
                description='JPEG, quality about 75',
                split='test',
                n_train=15_000,
                n_test=3_000,
            ),
            metrics={'accuracy/top1': metric(value)},
            seed=0,
            pretraining=_pretraining(**pretraining) if pretraining is not None else None,
            config=dict(path='configs/transfer/linear.py', sha256=_SHA),
            command=['tools/train.py', 'configs/transfer/linear.py'],
            commit=dict(hash='c' * 40, dirty=False),
            versions=dict(python='3.11.9', torch='2.10.0'),
            device=dict(name='CPU: one', count=1, cpu_threads=2),
            cost=dict(seconds=12.5, images_seen=45_000, flops=None, peak_memory_bytes=None),
            budget='12 epochs on 15,000 images',
        )
        | changes
    )


@pytest.fixture(scope='session')
def record_fields():
    """Every field of a record; `pretraining` is merged into the default one, `value` is top-1."""
    return _record_fields


@pytest.fixture(scope='session')
def make_record():
    return lambda **changes: new_record(**_record_fields(**changes))


@pytest.fixture(scope='session')
def make_runs(make_record):
    """Records of three seeds with a mean of `value` and a little scatter, which `shift` turns."""

    def runs(value, shift=0, pretraining=None, **changes):
        scatter = [0.02, -0.03, 0.01]
        return [
            make_record(
                seed=seed,
                value=value + scatter[(seed + shift) % 3] * (1 + shift // 3),
                pretraining={**(pretraining or {}), 'seed': seed, 'sha256': f'{seed:064x}'}
                if changes.get('method') != 'scratch'
                else None,
                **changes,
            )
            for seed in range(3)
        ]

    return runs


def _result(task, score):
    """The metrics of a task, and its data, for a score in per cent."""
    if task == 'detection':
        metrics = {
            'coco/bbox_mAP': metric(score / 100, 'fraction'),
            'coco/segm_mAP': metric(score / 100 - 0.03, 'fraction'),
        }
    elif task == 'semseg':
        metrics = {'mIoU': metric(score)}
    else:
        metrics = {'accuracy/top1': metric(score)}
    return dict(task=task, metrics=metrics, protocol=dict(name=f'digit scenes {task}', version=1))


@pytest.fixture(scope='session')
def demo_folder(tmp_path_factory):
    """A folder of records as a whole suite leaves them: 5 methods, 5 tasks, 3 seeds, curves."""
    folder = tmp_path_factory.mktemp('demo') / 'records'
    data = dict(
        name='digit scenes', description='64x64, seed 0', split='test', n_train=4000, n_test=1000
    )
    teacher = dict(
        epochs=20, images_seen=80_000, seconds=60.0, device='CPU: one', device_count=1, flops=4e13
    )
    variants = {'': {}, 'global': {'mode': 'global'}, 'labels': {'same_class_ratio': 0.5}}
    methods = {  # method, variant -> how well it does, seconds of pre-training
        ('random', ''): (0, None),
        ('scratch', ''): (4, None),
        ('mae', ''): (10, 61.0),
        ('mixedae', ''): (12, 64.5),
        ('mixedae', 'global'): (6, 63.0),
        ('imae', ''): (11, 118.0),
        ('imae', 'labels'): (14, 119.0),
        ('<b>our & "own"</b>', ''): (9, 70.0),
    }
    levels = dict(finetune=70, scratch=66, linear=50, knn=40, detection=25, semseg=35)
    for number, ((method, kind), (gain, seconds)) in enumerate(methods.items()):
        tasks = ['finetune', 'linear', 'knn', 'detection', 'semseg']
        tasks = dict(random=['linear', 'knn'], scratch=['scratch', 'detection', 'semseg']).get(
            method, tasks
        )
        for seed in range(3):
            shared = dict(
                method=method,
                variant=variants[kind],
                seed=seed,
                dataset=data,
                backbone=dict(arch='vit-micro', patch_size=8, img_size=64),
                budget='20 epochs on 4,000 scenes',
            )
            pretraining = dict(
                dataset='digit scenes',
                seed=seed,
                sha256=f'{number:060x}{seed:04x}',
                epochs=20,
                images_seen=160_000 if method == 'imae' else 80_000,
                seconds=(seconds or 0) + seed,
                flops=5e13,
                teacher=teacher if method == 'imae' else None,
                labels_in_pretraining=kind == 'labels',
            )
            shared['pretraining'] = pretraining if seconds else None
            for task in tasks:
                score = levels[task] + gain + 0.37 * seed * (1 if number % 2 else -1)
                write_record(new_record(**_record_fields(**shared | _result(task, score))), folder)
        if method == 'mixedae':
            x = list(range(1, 21))
            lines = {
                f'layer {layer}': [0.25 + layer * 0.06 * (1 - 0.9**epoch) for epoch in x]
                for layer in range(1, 7)
            }
            curve = dict(
                x_label='epoch',
                y_label='TopK sampling accuracy',
                x=x,
                lines=lines,
                reference=0.238,
                reference_label='chance',
            )
            part = dict(task='pretrain', metrics={'loss': metric(0.4, '', False)})
            fields = _record_fields(**shared | part)
            write_record(new_record(**fields, curves={'TopK accuracy': curve}), folder)
    return folder


@pytest.fixture(scope='session')
def column_of():
    """The only column of a table that shows what a key of `COLUMNS` says."""

    def column(table, key):
        (found,) = [column for column in table.columns if column.kind.key == key]
        return found

    return column


@pytest.fixture(scope='session')
def cells_of(column_of):
    """(method, variant) -> cell of one column of a table."""

    def cells(table, key):
        column = column_of(table, key)
        return {
            (row.method, row.variant_text): row.cells[column.id]
            for row in table.rows
            if column.id in row.cells
        }

    return cells
