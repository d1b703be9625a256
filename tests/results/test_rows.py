"""From records and published numbers to rows, columns and cells."""

import csv
import io
import json
import statistics
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixae.errors import TableError
from mixae.results.compare import build_table, leading_metric
from mixae.results.names import COLUMNS
from mixae.results.published import load_published
from mixae.results.record import digest, metric, read_records, write_record
from mixae.results.render.common import footnotes
from mixae.results.render.csv import to_csv
from mixae.results.render.markdown import escape_markdown, to_markdown
from mixae.results.table import select_published

ROOT = Path(__file__).parents[2]
PUBLISHED = load_published()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_mean_and_spread_over_seeds(make_record, cells_of, values):
    records = [
        make_record(value=value, pretraining=dict(seed=seed, sha256=f'{seed:064x}'))
        for seed, value in enumerate(values)
    ]
    ((_, cell),) = cells_of(build_table(records, columns=['linear']), 'linear').items()
    # By the textbook's formulas, not by the module under test's calls.
    mean = sum(values) / len(values)
    assert cell.mean == pytest.approx(mean)
    assert cell.n == cell.pretrainings == len(values)
    if len(values) == 1:
        assert cell.std is None
    else:
        variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
        assert cell.std == pytest.approx(variance**0.5, abs=1e-6)
        assert cell.std == pytest.approx(statistics.stdev(values))


def test_repeats_of_one_pretraining_are_told_from_repeats_of_all(make_record):
    records = [make_record(value=50 + seed, seed=seed) for seed in range(3)]
    text = to_markdown(build_table(records, columns=['linear']))
    assert '51.00 ± 1.00 (1 pre-training)' in text and 'n = 3 in every cell' in text


def test_the_leading_metric_is_the_first_column_that_shows_one(make_record):
    metrics = dict(aAcc=metric(66.9), mIoU=metric(31.2))
    record = make_record(task='semseg', metrics=metrics)
    assert leading_metric(record, ['box_ap50', 'miou', 'time']) == 'mIoU'
    assert leading_metric(record, ['linear', 'semseg:mAcc']) == 'aAcc'


def test_fractions_and_percent_are_one_unit(make_record, cells_of):
    def ap(value, unit, seed):
        metrics = {'coco/bbox_mAP': metric(value, unit)}
        return make_record(task='detection', metrics=metrics, seed=seed)

    table = build_table([ap(0.31, 'fraction', 0), ap(33.0, '%', 1)])
    assert cells_of(table, 'box_ap')['mae', ''].mean == pytest.approx(32)
    assert [column.kind.key for column in table.columns if not column.kind.is_cost] == ['box_ap']


def test_one_metric_in_two_units_is_refused(make_record):
    records = [
        make_record(task='separability', metrics={'mse': metric(50, unit, False)}, seed=seed)
        for seed, unit in enumerate(['', 'pixels'])
    ]
    with pytest.raises(TableError, match="'pixels'"):
        build_table(records, columns=['separability:mse'])


def test_a_share_without_a_unit_is_refused_and_not_shown_a_hundred_times_too_small(make_record):
    record = make_record(task='detection', metrics={'coco/segm_mAP': metric(0.31, '')})
    with pytest.raises(TableError, match="coco/segm_mAP.*unit ''.*'%' or 'fraction'"):
        build_table([record])


def _edited(make_record, folder, name, value, **changes):
    """A record as another version may have written it: its digest fits a value of any kind."""
    path = write_record(make_record(**changes), folder)
    content = json.loads(path.read_text())
    content['metrics'][name]['value'] = value
    content['digest'] = digest(content)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize('value', [500, -5])
def test_a_value_that_a_metric_cannot_have_makes_no_table(make_record, tmp_path, value):
    path = _edited(make_record, tmp_path, 'accuracy/top1', value)
    with pytest.raises(TableError) as error:
        build_table(read_records(tmp_path))
    assert str(error.value) == f'{path}: accuracy/top1 is {value} (%), expected 0 to 100.'


def _detector(make_record, large, **changes):
    metrics = {
        'coco/bbox_mAP': metric(0.3, 'fraction'),
        'coco/bbox_mAP_l': metric(large, 'fraction'),
    }
    return make_record(task='detection', metrics=metrics, **changes)


def test_undefined_metrics_leave_an_empty_cell(make_record, column_of):
    records = [_detector(make_record, 0.5, seed=0), _detector(make_record, None, seed=1)]
    columns = ['box_ap', 'detection:coco/bbox_mAP_l']
    table = build_table(records, columns=columns)
    large = column_of(table, columns[1])
    (row,) = table.rows
    assert (row.cells[large.id].mean, row.cells[large.id].n) == (50, 1)
    note = 'detection coco/bbox_mAP_l of MAE: undefined in 1 of 2 runs'
    assert any(text.startswith(note) for text in footnotes(table))
    # Undefined in every run, and only in this row.
    records += [_detector(make_record, None, method='mixedae', seed=seed) for seed in (0, 1)]
    table = build_table(records, columns=columns[1:])
    mixedae = table.rows[1]
    assert mixedae.method == 'mixedae' and mixedae.cells == {}
    line = next(line for line in to_markdown(table).splitlines() if line.startswith('| MixedAE'))
    assert line == '| MixedAE |  | 2 |'


def test_old_records_mark_undefined_precision_by_minus_one(make_record, tmp_path):
    changes = dict(
        task='detection',
        metrics={
            'coco/bbox_mAP': metric(0.3, 'fraction'),
            'coco/bbox_mAP_l': metric(1, 'fraction'),
        },
    )
    _edited(make_record, tmp_path, 'coco/bbox_mAP_l', -1, **changes)
    table = build_table(read_records(tmp_path), columns=['box_ap', 'detection:coco/bbox_mAP_l'])
    assert [column.kind.key for column in table.columns] == ['box_ap']


def test_two_records_of_one_id_make_no_table(make_record):
    records = [make_record(id='f' * 12), make_record(id='f' * 12, task='knn')]
    with pytest.raises(TableError, match='2 records have the id f{12}'):
        build_table(records)


def test_a_record_without_its_tasks_metric_is_named(make_record, tmp_path):
    path = write_record(make_record(metrics={'loss': metric(1, '')}), tmp_path)
    with pytest.raises(TableError, match='accuracy/top1') as error:
        build_table(read_records(tmp_path))
    assert str(path) in str(error.value)


def test_other_protocols_and_data_are_other_columns(make_record):
    data = dict(name='CIFAR-100', description=None, split='test', n_train=None, n_test=10)
    records = [
        make_record(value=1),
        make_record(value=2, protocol=dict(name='linear probe', version=2)),
        make_record(value=3, dataset=data),
    ]
    table = build_table(records, columns=['linear'])
    assert [column.header for column in table.columns] == [
        'Linear, CIFAR-10, protocol 1',
        'Linear, CIFAR-10, protocol 2',
        'Linear, CIFAR-100',
    ]
    (row,) = table.rows
    assert sorted(cell.mean for cell in row.cells.values()) == [1, 2, 3]
    notes = '\n'.join(footnotes(table))
    assert "protocol 'linear probe' 2" in notes and 'quality about 75' in notes


# ---- cost ------------------------------------------------------------------------------------


def costs_of(records):
    (row,) = build_table(records).rows
    return {key: cell.mean for key, cell in row.cells.items() if key in COLUMNS}


def test_cost_includes_the_teachers_and_is_a_mean_over_pretrainings(make_record):
    teacher = dict(
        epochs=5, images_seen=1000, seconds=3600, device='GPU', device_count=4, flops=1e12
    )

    def run(seed, seconds, **changes):
        part = dict(
            seconds=seconds, images_seen=500, flops=2e12, device_count=2, sha256=f'{seed:064x}'
        )
        return make_record(method='imae', pretraining=part | dict(seed=seed) | changes)

    with_teacher = [run(0, 3600, teacher=teacher), run(1, 7200, teacher=teacher)]
    # a second evaluation of one pre-training must not count it twice
    with_teacher.append(
        make_record(**{**run(1, 7200, teacher=teacher), 'task': 'knn', 'id': 'f' * 12})
    )
    costs = costs_of(with_teacher)
    assert costs['time'] == pytest.approx((7200 + 10800) / 2)
    assert costs['device_hours'] == pytest.approx((4 + 2 + 4 + 4) / 2)
    assert costs['images_seen'] == 1500
    assert costs['flops'] == pytest.approx(3e12)
    unknown = [run(0, 3600, teacher=teacher | dict(flops=None))]
    costs = costs_of(unknown)
    assert 'flops' not in costs, 'a part that is unknown is never left out of a sum'
    assert costs['time'] == 7200


# ---- what is asked for -----------------------------------------------------------------------


def test_unknown_columns_are_named_with_what_there_is(make_record):
    with pytest.raises(TableError, match="unknown column 'lineal'.*finetune.*linear:accuracy/top1"):
        build_table([make_record()], columns=['lineal'])
    with pytest.raises(TableError, match="unknown column 'knn:accuracy/top1'"):
        build_table([make_record()], columns=['knn:accuracy/top1'])
    with pytest.raises(TableError, match="'knn' is asked for 2 times"):
        build_table([make_record()], columns=['knn', 'knn'])
    with pytest.raises(TableError, match='no column'):
        build_table([make_record()], columns=[])


def test_nothing_to_show_is_said(make_record):
    with pytest.raises(TableError, match='tasks of the 1 records: linear'):
        build_table([make_record()], columns=['miou'])
    with pytest.raises(TableError, match='nothing to show'):
        build_table([])


def test_any_metric_can_be_a_column(make_record):
    metrics = {'aft/nrmse': metric(0.2, '', False), 'aft/cosine': metric(0.7, '')}
    records = [make_record(task='separability', metrics=metrics)]
    table = build_table(records, columns=['separability:aft/nrmse', 'separability:aft/cosine'])
    assert [column.higher_is_better for column in table.columns] == [False, True]
    assert '0.200' in to_markdown(table)


# ---- published -------------------------------------------------------------------------------


def test_published_rows_stand_beside_and_are_marked(make_record):
    published = select_published(load_published(), [make_record()])
    assert {(result.task, result.dataset) for result in published} == {('linear', 'CIFAR-10')}
    table = build_table([make_record(value=99.9)], published, columns=['linear'])
    assert len(table.columns) == 1, 'one column: side by side'
    assert {row.source for row in table.rows} == {'', 'i-MAE, Table 2', 'i-MAE, Table 3'}
    assert not table.rows[0].source, 'measured first'
    cells = {(row.source, row.method, row.variant_text): row for row in table.rows}
    row = cells['i-MAE, Table 3', 'imae', 'same_class_ratio=0.5']
    (cell,) = row.cells.values()
    assert cell.delta == pytest.approx(72.80 - 72.47), "against the paper's own MAE"
    text = to_markdown(table)
    assert 'published: i-MAE, Table 2' in text and 'ratio varies' in text


def test_published_differences_are_shown_as_such_and_never_ranked():
    table = build_table([], load_published())
    rows = [row for row in table.rows if row.method == 'mixedae']
    cells = [cell for row in rows for cell in row.cells.values()]
    assert len(cells) == 5 and all(cell.is_delta and not cell.rank for cell in cells)
    text = to_markdown(table)
    for shown in ('+0.30 vs MAE', '+1.70 vs MAE', '+0.90 vs MAE', '+3 % vs MAE'):
        assert escape_markdown(shown) in text


def test_all_published_results_reach_the_table():
    published = load_published()
    names = dict.fromkeys(
        f'{result.task}:{result.metric}' for result in published if result.task != 'pretrain'
    )
    table = build_table([], published, columns=list(names))
    shown = sum(len(row.cells) for row in table.rows)
    assert shown == sum(result.task != 'pretrain' for result in published)


def test_published_numbers_are_found_by_the_names_that_configs_give(make_record):
    data = dict(name='cifar10', description=None, split='test', n_train=50_000, n_test=10_000)
    record = make_record(value=70, dataset=data)
    published = select_published(PUBLISHED, [record])
    assert {(result.task, result.dataset) for result in published} == {('linear', 'CIFAR-10')}
    table = build_table([record], published, columns=['linear'])
    (column,) = table.columns
    assert column.dataset == 'CIFAR-10'
    assert [bool(row.source) for row in table.rows] == [False] + 6 * [True]


def test_a_column_of_published_numbers_alone_says_so(make_record):
    records = [make_record(protocol=dict(name='linear probe', version=v)) for v in (1, 2)]
    published = select_published(PUBLISHED, records)
    table = build_table(records, published, columns=['linear'])
    headers = [column.header for column in table.columns]
    assert headers == ['Linear, protocol 1', 'Linear, protocol 2', 'Linear, as published']


def _separability(make_record, scores, **changes):
    fore_nrmse, aft_nrmse, fore_r2, aft_r2, fore_cosine, aft_cosine = scores
    metrics = {
        'fore/nrmse': metric(fore_nrmse, '', False),
        'fore/r2': metric(fore_r2, ''),
        'fore/cosine': metric(fore_cosine, ''),
        'aft/nrmse': metric(aft_nrmse, '', False),
        'aft/r2': metric(aft_r2, ''),
        'aft/cosine': metric(aft_cosine, ''),
    }
    data = dict(name='cifar10', description=None, split='test', n_train=50_000, n_test=10_000)
    protocol = dict(name='lasso-separability', version='1')
    return make_record(
        task='separability', metrics=metrics, dataset=data, protocol=protocol, **changes
    )


def test_measured_separability_stands_beside_the_papers_table_4(make_record):
    # One row of each of Table 4, and i-MAE's fine-tuning, of the same checkpoint.
    data = dict(name='cifar10', description=None, split='test', n_train=50_000, n_test=10_000)
    no_distill, default = dict(distill=False), dict(distill=True)
    records = [
        _separability(make_record, (0.3, 0.2, 0.3, 0.4, 0.6, 0.7)),
        _separability(
            make_record, (0.4, 0.2, -9.0, 0.5, 0.1, 0.7), method='imae', variant=no_distill
        ),
        _separability(make_record, (0.2, 0.1, 0.8, 0.6, 0.8, 0.9), method='imae', variant=default),
        make_record(task='finetune', method='imae', variant=default, value=90, dataset=data),
    ]
    table = build_table(records, select_published(PUBLISHED, records))
    headers = [column.header for column in table.columns if not column.kind.is_cost]
    assert headers == ['Fine-tune'] + [
        f'{score} {when}' for score in ('NRMSE', 'R²', 'Cosine') for when in ('before', 'after')
    ]
    assert [column.unit for column in table.columns if not column.kind.is_cost] == ['%'] + 6 * ['']
    measured = [row for row in table.rows if not row.source]
    assert [(row.method, row.variant) for row in measured] == [
        ('mae', {}), ('imae', {}), ('imae', dict(distill='off')),
    ]  # fmt: skip
    text = to_csv(table)
    lines = list(csv.DictReader(io.StringIO(text, newline='')))
    after = {
        (line['method'], line['source']): line
        for line in lines
        if line['source'] in ('measured', 'published: i-MAE, Table 4')
        and json.loads(line['variant']) == {}
    }
    assert float(after['imae', 'measured']['Fine-tune (%)']) == 90
    assert float(after['imae', 'measured']['Cosine after']) == 0.9
    paper = after['imae', 'published: i-MAE, Table 4']
    assert float(paper['Cosine after']) == 0.796 and float(paper['NRMSE before']) == 0.179
    notes = [note for note in footnotes(table) if 'lasso-separability' in note]
    assert len(notes) == 1 and notes[0].startswith('NRMSE before, NRMSE after, R² before')
    (note,) = [note for note in footnotes(table) if 'normalises' in note]
    assert note.startswith("i-MAE, Table 4: 'Fore'") and not note.endswith('..')
    assert float(after['imae', 'measured']['NRMSE before delta']) == pytest.approx(-0.1)


def test_a_score_of_separability_in_per_cent_is_refused(make_record):
    record = make_record(task='separability', metrics={'aft/nrmse': metric(20, '%', False)})
    with pytest.raises(TableError, match="aft/nrmse has the unit '%'; expected ''"):
        build_table([record])


def test_each_metric_of_a_detector_has_its_own_column(make_record):
    values = {'bbox_mAP': 0.12, 'segm_mAP': 0.1, 'bbox_mAP_50': 0.31, 'segm_mAP_50': 0.29}
    metrics = {f'coco/{name}': metric(value, 'fraction') for name, value in values.items()}
    table = build_table([make_record(task='detection', metrics=metrics)])
    (row,) = table.rows
    shown = {c.kind.key: row.cells[c.id].mean for c in table.columns if not c.kind.is_cost}
    assert shown == pytest.approx(dict(box_ap=12, mask_ap=10, box_ap50=31, mask_ap50=29))


def test_columns_can_be_chosen_and_keep_their_order(make_record):
    metrics = {
        'coco/bbox_mAP_50': metric(0.5, 'fraction'),
        'coco/bbox_mAP': metric(0.2, 'fraction'),
    }
    records = [
        make_record(task='detection', metrics=metrics),
        make_record(task='semseg', metrics={'mIoU': metric(21.5, '%')}),
    ]
    table = build_table(records, columns=['miou', 'box_ap50'])
    assert [column.header for column in table.columns] == ['mIoU', 'Box AP50']
    assert [column.kind.key for column in table.columns] == ['miou', 'box_ap50']
    (row,) = table.rows
    assert [row.cells[column.id].mean for column in table.columns] == pytest.approx([21.5, 50])


def test_a_table_has_the_mean_over_small_sets_for_rows_that_have_them_all(make_record):
    values = dict(cub=40, dtd=60, pets=80)

    def record(method, name, value, seed):
        data = dict(name=name, description=None, split='test', n_train=10, n_test=10)
        return make_record(
            task='knn',
            method=method,
            dataset=data,
            value=value,
            pretraining=dict(seed=seed, sha256=str(seed) * 64),
        )

    records = [
        record('mae', name, value + seed, seed) for name, value in values.items() for seed in (0, 3)
    ]
    records += [record('imae', name, 10, 0) for name in ('cub', 'dtd')]
    table = build_table(records)
    (column,) = [column for column in table.columns if column.dataset == 'mean of 3 sets']
    assert column.note == 'mean over CUB-200, DTD, Oxford-IIIT Pets'
    shown = {row.method: row.cells.get(column.id) for row in table.rows}
    assert shown['mae'].mean == pytest.approx(61.5) and shown['imae'] is None
    assert shown['mae'].by_seed == {'0': 60, '3': 63} and shown['mae'].std == pytest.approx(
        4.5**0.5
    )
    # The mean is over the seeds that all sets have: of no other runs than its differences.
    more = build_table([*records, record('mae', 'cub', 90, 7)])
    (cell,) = (row.cells[column.id] for row in more.rows if row.method == 'mae')
    assert (cell.mean, cell.n) == (pytest.approx(61.5), 2)
