"""What a suite says in words about its table: is pre-training worth it?"""

import pytest

from mixae.results.compare import build_table
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
