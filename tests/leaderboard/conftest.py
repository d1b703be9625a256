"""Records as a run would write them, for the tests of this folder."""

import itertools

import pytest

from mixae.leaderboard.record import SCHEMA_VERSION, metric, new_record

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
