"""What a suite says in words about its table: is pre-training worth it?"""

import pytest

from mixae.results.compare import build_table
from mixae.results.record import metric
from mixae.suite.checks import pretraining_pays


@pytest.fixture
def table(make_record):
    """Two seeds of MAE and three of a random encoder: 30 and 34 against 14, 16 and 90."""
    records = [
        make_record(value=value, seed=seed, pretraining=dict(seed=seed, sha256=f'{seed}' * 64))
        for seed, value in enumerate((30.0, 34.0))
    ]
    records += [
        make_record(value=value, seed=seed, pretraining=None, method='random')
        for seed, value in enumerate((14.0, 16.0, 90.0))
    ]
    return build_table(records, columns=('linear',))


@pytest.mark.parametrize(
    ('bar', 'words'),
    [
        (dict(gain=17), 'Pre-training pays (clear: 17 points or more).'),
        (dict(gain=17.1), 'Pre-training does NOT pay clearly (clear: 17.1 points or more).'),
        (dict(gain=17, least=32), 'Pre-training pays (clear: 17 points or more, and 32 % or more)'),
        (dict(gain=17, least=33), 'does NOT pay clearly'),
        (dict(gain=18, mae=dict(gain=16)), 'pays (clear: 16 points or more)'),
        (dict(gain=16, imae=dict(gain=18)), 'pays (clear: 16 points or more)'),
    ],
)
def test_the_gain_is_over_the_seeds_that_both_rows_have(table, bar, words):
    (line,) = pretraining_pays(None, table, linear=bar)
    assert '+17.0 points over 2 seeds.' in line  # 16 and 18; the third seed has no pair
    assert words in line


def test_columns_that_are_not_there_say_nothing(table):
    assert pretraining_pays(None, table, knn=dict(gain=5)) == []


def test_gains_are_within_a_backbone_and_a_protocol_and_go_the_right_way(make_record):
    def record(method, value, task='linear', name='accuracy/top1', arch='vit-tiny', protocol='p'):
        pretraining = {} if method == 'mae' else None
        unit = ('', False) if task == 'robustness' else ('%', True)
        metrics = {name: metric(value, *unit)}
        backbone = dict(arch=arch, patch_size=4, img_size=32)
        return make_record(
            method=method,
            task=task,
            metrics=metrics,
            backbone=backbone,
            pretraining=pretraining,
            protocol=dict(name=protocol, version='1'),
        )

    records = [record('mae', 60), record('random', 59), record('random', 39, arch='vit-small')]
    lines = pretraining_pays(None, build_table(records, columns=['linear']), linear=dict(gain=5))
    assert len(lines) == 1 and '+1.0 points' in lines[0] and 'does NOT pay' in lines[0]
    errors = [
        record(method, value, 'robustness', 'mean_corruption_error')
        for method, value in (('mae', 31), ('random', 81))
    ]
    table = build_table(errors, columns=['mce'])
    (line,) = pretraining_pays(None, table, mce=dict(gain=5, least=40))
    assert 'pays (clear: 5 points lower or more, and 40 or less).' in line
    tuned = [
        record('mae', 60, 'finetune', protocol='ft-5e'),
        record('scratch', 30, 'scratch', protocol='scratch-1e'),
    ]
    table = build_table(tuned, columns=['finetune'])
    assert pretraining_pays(None, table, finetune=dict(gain=5)) == []


def test_two_lengths_of_pretraining_are_told_apart(make_record):
    records = [make_record(method='random', pretraining=None, value=14)]
    records += [
        make_record(value=20 + epochs, pretraining=dict(epochs=epochs, images_seen=epochs))
        for epochs in (3, 12)
    ]
    lines = pretraining_pays(None, build_table(records, columns=['linear']), linear=dict(gain=10))
    assert [line.split(' %')[0] for line in lines] == [
        'Linear: MAE (CIFAR-10, 3 epochs) 23.0',
        'Linear: MAE (CIFAR-10, 12 epochs) 32.0',
    ]
