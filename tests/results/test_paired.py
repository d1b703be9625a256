"""Paired differences against scipy's, and ranks that claim too much at most once in twenty."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from mixae.results.compare import _rank
from mixae.results.names import COLUMNS
from mixae.results.paired import Difference, paired_difference
from mixae.results.table import Cell, Column, Row, Table


def _by_seed(values, missing=()):
    return {str(seed): float(v) for seed, v in enumerate(values) if seed not in missing}


@given(st.lists(st.tuples(*2 * [st.integers(0, 10_000)]), min_size=2, max_size=8))
def test_intervals_are_those_of_scipys_paired_t(pairs):
    one, other = np.array(pairs).T / 100
    found = paired_difference(_by_seed(one), _by_seed(other))
    spread = np.std(one - other, ddof=1)
    if spread < 1e-6:
        assert found.half == math.inf and found.spread == 0
        return
    interval = scipy.stats.ttest_rel(one, other).confidence_interval(0.95)
    assert found.mean - found.half == pytest.approx(interval.low, abs=1e-6)
    assert found.mean + found.half == pytest.approx(interval.high, abs=1e-6)


def test_only_common_seeds_are_paired():
    one, other = _by_seed([1, 2, 4, 9]), _by_seed([0, 0, 0, 0, 7], missing=[3])
    assert paired_difference(one, other) == paired_difference(_by_seed([1, 2, 4]), other)
    assert paired_difference(one, other).pairs == 3
    assert paired_difference(_by_seed([1]), _by_seed([2])).half == math.inf
    assert paired_difference(_by_seed([1]), _by_seed([2], missing=[0])) is None


@pytest.mark.parametrize(('one', 'other'), [([5, 6, 7], [5, 6, 7]), ([0.3, 0.6], [0.1, 0.4])])
def test_differences_without_spread_separate_nothing(one, other):
    assert paired_difference(_by_seed(one), _by_seed(other)).half == math.inf


@pytest.mark.parametrize(('effect', 'seeds'), [(0.2, 199), (0.5, 34), (0.8, 15), (2.0, 5)])
def test_seeds_needed_are_the_textbooks(effect, seeds):
    # Cohen's small, medium and large effects of paired samples, two-sided 5 %, power 80 %: the
    # sample sizes that G*Power gives.
    assert Difference(effect, 9.0, 1.0, 3).seeds_needed == seeds
    assert Difference(-effect, 9.0, 1.0, 3).seeds_needed == seeds


def test_seeds_that_would_never_do():
    assert Difference(0.0, 1.0, 1.0, 3).seeds_needed is None
    assert Difference(0.001, 1.0, 1.0, 3).seeds_needed is None
    assert Difference(1.0, math.inf, 0.0, 3).seeds_needed is None


# ---- ranks -----------------------------------------------------------------------------------


def _ranked(values, higher_is_better=True, missing=None):
    """A table of one column for each repetition, ranked. `values`: (repetitions, rows, seeds)."""
    columns = [
        Column(str(number), COLUMNS['linear'], 'Linear', '%', higher_is_better=higher_is_better)
        for number in range(len(values))
    ]
    backbone = dict(arch='ViT-Ti', patch_size=4, img_size=32)
    rows = [Row(f'row {index}', {}, backbone, None, False) for index in range(values.shape[1])]
    for column, repetition in zip(columns, values, strict=True):
        for index, (row, results) in enumerate(zip(rows, repetition, strict=True)):
            gone = () if missing is None else np.flatnonzero(missing[int(column.id), index])
            by_seed = _by_seed(results, gone)
            if by_seed:
                row.cells[column.id] = Cell(np.mean(list(by_seed.values())), by_seed=by_seed)
    table = Table(columns, rows, {})
    _rank(table)
    return table


def _wrong(table, truth):
    """In how many columns a row is ranked before one that is no worse in truth."""
    wrong = 0
    for column in table.columns:
        there = [
            (value, row.cells[column.id].rank)
            for row, value in zip(table.rows, truth, strict=True)
            if column.id in row.cells
        ]
        wrong += any(
            rank and any(other >= value for other, place in there if not 0 < place <= rank)
            for value, rank in there
        )
    return wrong


REPETITIONS = 1000
# Of right intervals one in twenty is wrong: more than this happens once in a thousand tests.
MOST_WRONG = scipy.stats.binom.ppf(0.999, REPETITIONS, 0.05)


@pytest.mark.parametrize(('seeds', 'holes'), [(2, 0), (3, 0), (5, 0.2)])
@pytest.mark.parametrize(
    ('truth', 'scale'),
    [
        ([50, 50], [1, 1]),
        ([50, 50, 50], [5, 0.1, 0.1]),
        ([60, 50, 50], [1, 1, 1]),
        ([50, 50.5, 51, 51], [1, 1, 1, 1]),
        ([50] * 6, [1] * 6),
    ],
)
def test_false_ranks_are_at_most_one_in_twenty(truth, scale, seeds, holes):
    random = np.random.default_rng(0)
    shape = (REPETITIONS, len(truth), seeds)
    shared = random.normal(size=(REPETITIONS, 1, seeds))  # what a seed does to all rows
    noise = np.array(scale)[:, None] * random.normal(size=shape)
    values = np.array(truth)[:, None] + shared + noise
    assert _wrong(_ranked(values, missing=random.random(shape) < holes), truth) <= MOST_WRONG


@pytest.mark.parametrize('higher_is_better', [True, False])
def test_clear_orders_are_ranked(higher_is_better):
    truth = np.array([50, 80, 20, 65])
    noise = np.random.default_rng(0).normal(size=(200, 4, 3))
    table = _ranked(truth[:, None] + noise, higher_is_better)
    assert not table.undecided
    best, second = (1, 3) if higher_is_better else (2, 0)
    for column in table.columns:
        ranks = [row.cells[column.id].rank for row in table.rows]
        assert (ranks[best], ranks[second], sum(ranks)) == (1, 2, 3)


def _one(*rows, **changes):
    table = _ranked(np.array([rows], dtype=float), **changes)
    return [(row.cells['0'].rank, row.cells['0'].is_tied) for row in table.rows], table.undecided


TIED, PLAIN, BEST, SECOND = (0, True), (0, False), (1, False), (2, False)


def test_what_stands_in_a_cell():
    marks, why = _one([50, 52, 54], [50, 51, 55], [40, 41, 42.5])
    assert marks == [TIED, TIED, PLAIN]
    assert why == [
        'Linear: row 0 and row 1 are not separable: +0.00 [-2.48, +2.48] over 3 seeds; more than '
        '1,000 seeds would settle it.'
    ]
    marks, why = _one([50, 52, 54], [40, 41, 44], [30, 32, 32.5])
    assert (marks, why) == ([BEST, SECOND, PLAIN], [])
    # Two rows: the other one is not called second best.
    assert _one([50, 52, 54], [40, 41, 44]) == ([BEST, PLAIN], [])


def test_one_seed_ranks_nothing_and_says_so():
    assert _one([50], [40]) == (
        [PLAIN, PLAIN],
        ['One seed: nothing is ranked, as nothing is known of the scatter.'],
    )
    assert _one([50]) == ([PLAIN], []), 'a single row has nothing to be ranked with'


def test_equal_results_and_zero_variance_rank_nothing():
    marks, (why,) = _one([50, 51, 52], [50, 51, 52])
    assert marks == [TIED, TIED] and '+0.00 in each of 3 seeds' in why
    marks, (why,) = _one([50.5, 51.5], [50, 51])
    assert marks == [TIED, TIED] and '+0.50 in each of 2 seeds tells nothing' in why
    marks, (why,) = _one([50.001, 51.0011], [50, 51])
    assert marks == [TIED, TIED] and 'less than is printed' in why


def test_a_row_of_one_seed_keeps_others_from_a_rank_only_where_it_is_the_highest():
    gone = np.zeros((1, 3, 3), dtype=bool)
    gone[0, 2, 1:] = True
    marks, why = _one([50, 52, 54], [40, 41, 44], [30, 0, 0], missing=gone)
    assert (marks, why) == ([BEST, PLAIN, PLAIN], [])
    marks, (why,) = _one([50, 52, 54], [40, 41, 44], [60, 0, 0], missing=gone)
    assert marks == [PLAIN] * 3 and 'share fewer than two seeds' in why


def test_missing_pairs_rank_nothing():
    gone = np.array([[[0, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 1]]], dtype=bool)
    marks, why = _one([50, 52, 54, 0], [40, 0, 0, 40], [30, 32, 32.5, 0], missing=gone)
    assert marks == [PLAIN] * 3
    assert why == ['Linear: not ranked, as row 0 and row 1 share fewer than two seeds.']
    # The best mean is that of the seeds a row has; its rival is better where both have run.
    gone = np.array([[[1, 0, 0, 0], [0, 0, 0, 0]]], dtype=bool)
    marks, why = _one([0, 50, 52, 54], [0, 51, 53.1, 55], missing=gone)
    assert marks == [PLAIN, PLAIN]
    assert why == ['Linear: not ranked, as row 1 is better than row 0 in the seeds of both.']
