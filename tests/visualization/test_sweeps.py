"""Curves over settings and rank correlations, from records whose answer is known."""

import numpy as np
import pytest
from scipy import stats

from mixae.errors import TableError
from mixae.results.correlate import half_interval, pair_columns, rank_correlation
from mixae.results.record import metric, new_record
from mixae.visualization.sweeps import (
    plot_rank_correlation,
    plot_rows,
    plot_sweep,
    sweep_lines,
)


def record(value, seed=0, method='mixedae', accuracy=None, dataset='digit_scenes', **variant):
    curves = {}
    if accuracy is not None:
        line = dict(x_label='iteration', y_label='', x=[1], lines=dict(layer=[accuracy]))
        curves = dict(curves=dict(topk_accuracy=line))
    unknown = dict.fromkeys(
        ('config', 'config_sha256', 'seconds', 'device', 'device_count', 'flops', 'teacher')
    )
    told = dict(
        checkpoint=f'{seed}.pth', sha256=None, dataset=dataset, epochs=24, images_seen=9, seed=seed
    )
    return new_record(
        task='linear',
        protocol=dict(name='linear', version='1'),
        method=method,
        variant=variant,
        backbone=dict(arch='ViT-Mini', patch_size=8, img_size=64),
        dataset=dict(name=dataset, description=None, split='test', n_train=1, n_test=1),
        metrics={'accuracy/top1': metric(value)},
        seed=seed,
        pretraining={**unknown, **told, 'labels_in_pretraining': False, 'commit': None},
        config=dict(path=None, sha256='0' * 64),
        **curves,
    )


SWEEP = [
    *(record(50 + seed, seed) for seed in (0, 1, 2)),
    *(record(40 + seed, seed, mix_ratio=0.5) for seed in (0, 1, 2)),
    record(30, mix_ratio=0.125),
    record(45, mix_ratio=0.5, segment_embed=False),
    *(record(47 + seed, seed, method='mae') for seed in (0, 1)),
]


def test_a_sweep_is_a_line_with_the_default_in_it(tmp_path):
    result, lines, levels = sweep_lines(SWEEP, 'mix_ratio', 'linear')
    assert {name: [(v, c.mean) for v, c in points] for name, points in lines.items()} == {
        'MixedAE': [(0.125, 30), (0.25, 51), (0.5, 41)]
    }
    assert [name for name, _ in levels] == ['MAE'] and result.unit == '%'
    table = plot_sweep(SWEEP, 'mix_ratio', 'linear', tmp_path / 'sweep.png')
    assert (tmp_path / 'sweep.png').stat().st_size > 5000
    half = stats.t.ppf(0.975, 2) / 3**0.5
    assert f'| MixedAE | 0.5 | 41.00 ± {half:.2f} | 3 |' in table
    assert '| MixedAE | 0.125 | 30.00 | 1 |' in table


def test_every_row_is_drawn_with_its_interval(tmp_path):
    table = plot_rows(SWEEP, 'linear', tmp_path / 'rows.png')
    assert (tmp_path / 'rows.png').stat().st_size > 5000
    assert len(table) == 2 + 5
    half = stats.t.ppf(0.975, 2) / 3**0.5
    assert f'| MixedAE | | 51.00 ± {half:.2f} | 3 |' in table


def test_half_an_interval_is_scipys():
    values = [1.0, 2.0, 4.0, 3.5]
    by_seed = dict(zip('0123', values, strict=True))
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert half_interval(by_seed) == pytest.approx((high - low) / 2)
    assert half_interval({'0': 1.0}) is half_interval({'0': 1.0, '1': 1.0}) is None


def test_words_beside_numbers_are_levels():
    records = [record(50), record(40, topk=9), record(45, topk=25)]
    _, lines, levels = sweep_lines(records, 'topk', 'linear')
    assert [value for value, _ in lines['MixedAE']] == [9, 25]
    assert [name for name, _ in levels] == ['MixedAE, topk=auto']
    shares = [record(v, method='imae', mix=f'subordinate={s}') for v, s in ((1, 0.1), (2, 0.3))]
    _, lines, _ = sweep_lines([*shares, record(3, method='imae')], 'mix', 'linear')
    assert [value for value, _ in lines['i-MAE']] == [0.1, 0.3]


def test_what_is_no_sweep_is_refused(tmp_path):
    with pytest.raises(TableError, match="'topk' is the same in all rows; .*mix_ratio"):
        plot_sweep(SWEEP, 'topk', 'linear', tmp_path / 'x.png')
    with pytest.raises(TableError, match='differ in it alone'):
        sweep_lines([record(1, topk=9), record(2)], 'topk', 'linear')
    with pytest.raises(TableError, match='expected one data set'):
        sweep_lines([*SWEEP, record(1, dataset='cifar10')], 'mix_ratio', 'linear')


def test_runs_pair_by_row_and_seed_and_rank_as_scipy_says(tmp_path):
    rng = np.random.default_rng(0)
    records = [
        record(50 + 40 * a + rng.normal(), seed, accuracy=a, mix_ratio=r)
        for r in (0.5, 0.125)
        for seed, a in enumerate(rng.uniform(0.2, 0.9, 6))
    ]
    pairs = pair_columns([*records, record(10, method='mae')], 'topk_accuracy', 'linear')
    assert set(pairs.points) == {'MixedAE mix_ratio=0.5', 'MixedAE mix_ratio=0.125'}
    found = plot_rank_correlation(records, 'topk_accuracy', 'linear', tmp_path / 'rank.png')
    x, y = zip(*pairs.all, strict=True)
    assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic) and found.runs == 12
    assert found.low < found.rho < found.high <= 1


def test_the_interval_of_a_rank_correlation_holds_it_95_times_of_100():
    """Of normal pairs, whose rho is 6/pi asin(r/2)."""
    rng = np.random.default_rng(1)
    r, hits = 0.6, 0
    truth = 6 / np.pi * np.arcsin(r / 2)
    for _ in range(600):
        points = rng.multivariate_normal([0, 0], [[1, r], [r, 1]], size=20)
        found = rank_correlation([tuple(point) for point in points])
        hits += found.low <= truth <= found.high
    assert 0.92 < hits / 600 < 0.98


def test_too_few_runs_have_no_correlation():
    with pytest.raises(TableError, match='4 runs have both'):
        rank_correlation([(1, 2), (2, 3), (3, 4), (4, 1)])
    with pytest.raises(TableError, match='same in all runs'):
        rank_correlation([(1, i) for i in range(6)])
    with pytest.raises(TableError, match='expected one data set'):
        pair_columns([record(1)], 'linear', 'finetune')
