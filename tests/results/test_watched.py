"""Columns of what was watched in pre-training: TopK accuracy, and the loss beside its floor."""

import numpy as np
import pytest

from mixae.errors import TableError
from mixae.results.compare import build_table
from mixae.results.record import metric
from mixae.results.render.charts import cost_charts
from mixae.results.render.text import to_text
from mixae.results.watched import at_the_end, watched_metrics

FLOOR = 2.7234


def curves(level=0.5, loss=3.0, readings=40):
    """Curves whose last tenth is level + .1 and level - .1, and loss; before they are elsewhere."""
    x = list(range(readings))
    end = x[-readings // 10 :]
    ends = {'layer 1': level + 0.1, 'layer 2': level - 0.1}
    lines = {name: [value if i in end else 0.2 for i in x] for name, value in ends.items()}
    topk = dict(lines=lines, reference=0.238, reference_label='chance')
    contrast = dict(
        lines=dict(loss=[loss if i in end else 9.0 for i in x]),
        reference=FLOOR,
        reference_label='floor',
    )
    both = dict(topk_accuracy=topk, contrastive_loss=contrast)
    return {k: dict(x_label='iteration', y_label=k, x=x, **curve) for k, curve in both.items()}


def runs(make_record, levels, tasks=('linear', 'knn'), **changes):
    """Records of a pre-training a level, each evaluated by every task."""
    return [
        make_record(
            task=task,
            seed=seed,
            pretraining=dict(seed=seed, sha256=f'{seed:064x}'),
            **dict(method='mixedae', curves=curves(level)) | changes,
        )
        for seed, level in enumerate(levels)
        for task in tasks
    ]


@pytest.mark.parametrize('count', [1, 9, 10, 11, 100])
def test_the_end_is_the_last_tenth(count):
    values = np.random.default_rng(0).random(count)
    assert at_the_end(values.tolist()) == pytest.approx(values[-int(np.ceil(count / 10)) :].mean())


def test_undefined_readings_are_left_out():
    assert at_the_end([1.0] * 18 + [None, 3.0]) == 3
    assert at_the_end([1.0, None]) is None


def test_metrics_are_the_mean_each_line_and_the_reference(make_record):
    metrics = watched_metrics(make_record(curves=curves(0.5, 3.0)))
    share, plain = dict(unit='fraction', higher_is_better=True), dict(unit='')
    assert metrics == {
        'topk_accuracy': dict(value=pytest.approx(0.5), **share),
        'topk_accuracy/layer 1': dict(value=pytest.approx(0.6), **share),
        'topk_accuracy/layer 2': dict(value=pytest.approx(0.4), **share),
        'topk_accuracy/chance': dict(value=0.238, **share),
        'contrastive_loss': dict(value=pytest.approx(3.0), **plain, higher_is_better=False),
        'contrastive_loss/floor': dict(value=FLOOR, **plain, higher_is_better=False),
    }
    assert watched_metrics(make_record()) == {}


def test_a_cell_is_the_mean_over_pretrainings_not_over_their_evaluations(make_record, cells_of):
    levels = [0.4, 0.5, 0.7]
    records = runs(make_record, levels)
    records += [make_record(task=task, seed=seed) for task in ('linear', 'knn') for seed in (3, 4)]
    names = ['linear', 'topk_accuracy', 'pretrain:topk_accuracy/layer 1']
    table = build_table(records, columns=[*names, 'contrastive_loss', 'contrastive_floor'])
    for name, shift in (('topk_accuracy', 0), ('pretrain:topk_accuracy/layer 1', 10)):
        ((row, cell),) = cells_of(table, name).items()  # MAE watches nothing
        assert row[0] == 'mixedae'
        assert (cell.n, cell.pretrainings) == (3, 3)
        assert cell.mean == pytest.approx(100 * np.mean(levels) + shift)
        assert cell.std == pytest.approx(100 * np.std(levels, ddof=1))
    assert cells_of(table, 'contrastive_loss')['mixedae', ''].mean == pytest.approx(3.0)
    assert cells_of(table, 'contrastive_floor')['mixedae', ''].mean == pytest.approx(FLOOR)
    headers = [column.header for column in table.columns]
    assert headers[1:3] == ['TopK accuracy', 'TopK accuracy, layer 1']
    text = to_text(table)
    assert '53.33 ± 15.28' in text and '3.000' in text and '2.723' in text


def test_two_pretrainings_of_one_seed_are_one_sample(make_record, cells_of):
    """As where another machine pre-trained again, with other bits, for another evaluation."""
    first, again = [0.4, 0.5, 0.7], [0.42, 0.5, 0.7]
    records = runs(make_record, first, ['linear']) + runs(make_record, again, ['knn'])
    for number, record in enumerate(records):
        record['pretraining']['sha256'] = f'{number:064x}'
    means = 100 * np.mean([first, again], axis=0)
    table = build_table(records, columns=['linear', 'topk_accuracy'])
    cell = cells_of(table, 'topk_accuracy')['mixedae', '']
    assert (cell.n, cell.pretrainings, len(cell.records)) == (3, 3, 6)
    assert list(cell.by_seed.values()) == pytest.approx(means)
    assert (cell.mean, cell.std) == pytest.approx((means.mean(), means.std(ddof=1)))


def test_an_evaluation_without_curves_does_not_hide_those_of_another(make_record, cells_of):
    records = runs(make_record, [0.5], ['knn'], curves={}) + runs(make_record, [0.5], ['linear'])
    table = build_table(records, columns=['linear', 'knn', 'topk_accuracy'])
    assert cells_of(table, 'topk_accuracy')['mixedae', ''].mean == pytest.approx(50)


def test_what_was_watched_is_no_result(make_record, cells_of):
    """It is neither ranked nor drawn against the cost, as a result is that is alike in all else."""
    records = []
    for variant, levels in (({}, [0.8, 0.81, 0.82]), (dict(mode='x'), [0.5, 0.52, 0.51])):
        for record, level in zip(runs(make_record, levels, ['linear']), levels, strict=True):
            record |= dict(variant=variant, metrics={'accuracy/top1': metric(100 * level)})
            records.append(record)
    for number, record in enumerate(records):
        record['pretraining']['sha256'] = f'{number:064x}'
    table = build_table(records, columns=['linear', 'topk_accuracy', 'images_seen'])
    assert sorted(cell.rank for cell in cells_of(table, 'linear').values()) == [0, 1]
    assert {cell.rank for cell in cells_of(table, 'topk_accuracy').values()} == {0}
    assert [chart.caption.split(' (')[0] for chart in cost_charts(table)] == ['Linear']


def test_a_column_that_nothing_was_watched_for_is_named(make_record):
    records = runs(make_record, [0.5])
    with pytest.raises(TableError, match=r'pretrain:layer 9.*pretrain:topk_accuracy/layer 1'):
        build_table(records, columns=['pretrain:layer 9'])


def test_what_a_probe_chose_among_was_not_watched_while_pretraining(make_record):
    sweep = dict(x_label='learning rate', y_label='%', x=[0.1, 1], lines=dict(cls=[20.0, 30.0]))
    assert watched_metrics(make_record(curves=dict(sweep=sweep))) == {}
