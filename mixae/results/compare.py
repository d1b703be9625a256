"""From run records and published numbers to tables.

`build_table` makes the table's model; `to_markdown`, `to_csv` and `to_latex` (and `page.to_html`)
write it. What may be compared with what is decided here, once:

- a cell is the mean over the seeds of one method, variant, backbone and pre-training under one
  evaluation protocol on one data set; other protocols and data sets are other columns;
- ranks and differences are taken within a column among rows of one backbone; measured rows are
  never ranked with published ones, nor rows whose pre-training saw labels with those that did not.
"""

import csv
import io
import json
import os
import re
import statistics
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from urllib.parse import quote

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mixae.errors import TableError
from mixae.results.published import PublishedResult
from mixae.results.record import RunRecord

METHOD_NAMES = {
    'random': 'random encoder',
    'scratch': 'from scratch',
    'mae': 'MAE',
    'mixedae': 'MixedAE',
    'imae': 'i-MAE',
}
# As configs name data sets: as the papers do. Published numbers are found by these.
DATASET_NAMES = {
    'cifar10': 'CIFAR-10',
    'cifar100': 'CIFAR-100',
    'tiny_imagenet': 'Tiny-ImageNet',
    'imagenet': 'ImageNet-1K',
    'ade20k': 'ADE20K',
    'coco': 'COCO',
    'digit_scenes': 'digit scenes',
}


@dataclass(frozen=True)
class ColumnKind:
    """What a column shows: a metric of some tasks, or a cost of the pre-training.

    `metrics` are names for the same quantity, the first found is taken. `unit` is the one that a
    column of `COLUMNS` demands of its metric.
    """

    key: str
    header: str
    tasks: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    cost: str = ''
    unit: str = '%'


_TOP1 = ('accuracy/top1', 'top1', 'accuracy')
_BOX = ('coco/bbox_mAP', 'bbox_mAP')
_MASK = ('coco/segm_mAP', 'segm_mAP')
_BOXES = ('detection', 'instance')
_APART = ('separability',)
COLUMNS = {
    kind.key: kind
    for kind in (
        ColumnKind('finetune', 'Fine-tune', ('finetune', 'scratch'), _TOP1),
        ColumnKind('linear', 'Linear', ('linear',), _TOP1),
        ColumnKind('knn', 'kNN', ('knn',), _TOP1),
        ColumnKind('miou', 'mIoU', ('semseg',), ('mIoU',)),
        ColumnKind('box_ap', 'Box AP', _BOXES, _BOX),
        ColumnKind('mask_ap', 'Mask AP', _BOXES, _MASK),
        ColumnKind('box_ap50', 'Box AP50', _BOXES, ('coco/bbox_mAP_50', 'bbox_mAP_50')),
        ColumnKind('mask_ap50', 'Mask AP50', _BOXES, ('coco/segm_mAP_50', 'segm_mAP_50')),
        *(
            ColumnKind(f'{key}_{word}', f'{name} {word}', _APART, (f'{when}/{key}',), unit='')
            for key, name in (('nrmse', 'NRMSE'), ('r2', 'R²'), ('cosine', 'Cosine'))
            for when, word in (('fore', 'before'), ('aft', 'after'))
        ),
        ColumnKind('time', 'Pre-training time', cost='time'),
        ColumnKind('device_hours', 'Device hours', cost='device_hours'),
        ColumnKind('images_seen', 'Images seen', cost='images_seen'),
        ColumnKind('flops', 'FLOPs', cost='flops'),
    )
}
DEFAULT_COLUMNS = tuple(COLUMNS)
AS_PUBLISHED = 'as published'


@dataclass
class Column:
    """One column of a table. `id` is unique in the table; `note` says under which protocol."""

    id: str
    kind: ColumnKind
    header: str
    unit: str = ''
    dataset: str = ''
    note: str = ''
    higher_is_better: bool = True


@dataclass
class Cell:
    """One number of a table.

    `std` is the sample standard deviation over the `n` runs (None for one run); `pretrainings` is
    how many different pre-training runs they started from. `delta` is the difference of the mean
    from the MAE row's. `rank` is 1 (best), 2 (second best) or 0. `is_delta`: the published number
    itself is a difference from MAE. `records` are the ids of the records behind it.
    """

    mean: float
    std: float | None = None
    n: int = 1
    pretrainings: int = 0
    delta: float | None = None
    rank: int = 0
    is_delta: bool = False
    records: tuple[str, ...] = ()
    protocol: str = ''


@dataclass
class Row:
    """One method with its backbone and pre-training. `source` is '' for a measured row."""

    method: str
    variant: dict
    backbone: dict
    pretraining: dict | None  # dataset, epochs, images_seen
    labels_in_pretraining: bool | None
    source: str = ''
    url: str = ''
    notes: tuple[str, ...] = ()
    cells: dict[str, Cell] = field(default_factory=dict)
    records: list[RunRecord] = field(default_factory=list)
    costs: dict[str, float] = field(default_factory=dict)

    @property
    def method_text(self) -> str:
        return METHOD_NAMES.get(self.method, self.method)

    @property
    def variant_text(self) -> str:
        return settings_text(self.variant)

    @property
    def backbone_text(self) -> str:
        if self.backbone['arch'] is None:
            return 'not stated'
        patch = f'/{self.backbone["patch_size"]}' if self.backbone['patch_size'] else ''
        return f'{self.backbone["arch"]}{patch}, {self.backbone["img_size"]} px'

    @property
    def pretraining_text(self) -> str:
        if self.pretraining is None:
            return 'none'
        epochs = self.pretraining['epochs']
        return dataset_text(self.pretraining['dataset']) + (
            '' if epochs is None else f', {epochs:g} epochs'
        )

    @property
    def labels_text(self) -> str:
        return {True: 'yes', False: 'no', None: 'not stated'}[self.labels_in_pretraining]

    @property
    def source_text(self) -> str:
        return f'published: {self.source}' if self.source else 'measured'


@dataclass
class Table:
    """Columns, rows (measured ones first), footnotes, and the records behind the cells by id."""

    columns: list[Column]
    rows: list[Row]
    footnotes: list[str]
    records: dict[str, RunRecord]


def dataset_text(name: str) -> str:
    """A data set's name for people, whether a config or a paper gives it."""
    return DATASET_NAMES.get(name, name)


def settings_text(settings: Mapping) -> str:
    """'key=value, ...' in the keys' order; values as JSON writes them, strings without quotes."""
    return ', '.join(f'{key}={_plain(value)}' for key, value in sorted(settings.items()))


def _plain(value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _key(*values) -> str:
    return json.dumps(values, sort_keys=True)


# ---- what is asked for -----------------------------------------------------------------------


def parse_columns(
    names: Sequence[str],
    records: Iterable[Mapping] = (),
    published: Iterable[PublishedResult] = (),
) -> list[ColumnKind]:
    """The columns of these names: a key of `COLUMNS`, or `task:metric` for any metric there is.

    Raises:
        TableError: an unknown name, a name given twice, or no name; it lists what there is.
    """
    there = {(record['task'], name) for record in records for name in record['metrics']}
    there |= {(result.task, result.metric) for result in published}
    kinds = []
    for name in names:
        task, colon, metric = name.partition(':')
        if name in COLUMNS:
            kinds.append(COLUMNS[name])
        elif colon and (task, metric) in there:
            kinds.append(ColumnKind(name, f'{task.replace("_", " ")} {metric}', (task,), (metric,)))
        else:
            more = ', '.join(sorted(f'{task}:{metric}' for task, metric in there)) or 'none'
            raise TableError(
                f'unknown column {name!r}. Columns are {", ".join(COLUMNS)}, or task:metric; '
                f'these records and published numbers have {more}.'
            )
    if not kinds:
        raise TableError(f'no column asked for; columns are {", ".join(COLUMNS)}.')
    for name, count in Counter(kind.key for kind in kinds).items():
        if count > 1:
            raise TableError(f'column {name!r} is asked for {count} times.')
    return kinds


def select_published(
    published: Iterable[PublishedResult], records: Iterable[Mapping]
) -> list[PublishedResult]:
    """The published numbers of tasks and data sets that the records have too."""
    there = {
        (what, dataset_text(record['dataset']['name']))
        for record in records
        for what in _shown_as(record['task'])
    }
    return [
        result
        for result in published
        if any((what, dataset_text(result.dataset)) in there for what in _shown_as(result.task))
    ]


def _shown_as(task: str) -> set[str]:
    """A task, and the columns that it shares with others."""
    return {task} | {kind.key for kind in COLUMNS.values() if task in kind.tasks}


# ---- building --------------------------------------------------------------------------------


def build_table(
    records: Sequence[RunRecord],
    published: Sequence[PublishedResult] = (),
    columns: Sequence[str] = DEFAULT_COLUMNS,
) -> Table:
    """The table of these records and published numbers.

    Args:
        records: from `read_records`, which refuses two records for one cell.
        published: from `load_published`, all or `select_published`.
        columns: names as `parse_columns` takes them, in the order wanted. A column that nothing
            fills is left out.

    Raises:
        TableError: an unknown column, nothing to show, a record without the metric that its task's
            column shows, or one metric in two units.
    """
    kinds = parse_columns(columns, records, published)
    metric_kinds = [kind for kind in kinds if not kind.cost]
    table = Table([], [], [], {record['id']: record for record in records})
    rows: dict[str, Row] = {}
    values: dict[tuple[str, str], list] = defaultdict(list)  # (row, column) -> (value, record)
    made: dict[str, Column] = {}
    for record in sorted(records, key=lambda record: record['task'] == 'scratch'):
        if record['task'] == 'pretrain':
            continue  # its costs come with the evaluations that used it
        row_key = _row_key(record)
        rows.setdefault(row_key, _measured_row(record)).records.append(record)
        _check_metrics(record, metric_kinds)
        for kind in metric_kinds:
            name = _metric_name(kind, record['task'], record['metrics'])
            if name is None:
                continue
            entry = record['metrics'][name]
            value, unit = _in_percent(entry['value'], entry['unit'])
            if kind.key in COLUMNS and unit != kind.unit:
                wanted = "'%' or 'fraction' (0..1)" if kind.unit == '%' else repr(kind.unit)
                raise TableError(
                    f'{record.path or record["id"]}: {name} has the unit {unit!r}; expected '
                    f'{wanted}.'
                )
            column = _measured_column(kind, record, name, made)
            if (unit, entry['higher_is_better']) != (column.unit, column.higher_is_better):
                raise TableError(
                    f'{record.path or record["id"]}: {name} is given in {unit or "no unit"!r} '
                    f'(higher_is_better={entry["higher_is_better"]}), other records of '
                    f'{record["task"]} in {column.unit or "no unit"!r} '
                    f'(higher_is_better={column.higher_is_better}).'
                )
            values[row_key, column.id].append((value, record))
    for (row_key, column_id), found in values.items():
        rows[row_key].cells[column_id] = _measured_cell(found)
    for row in rows.values():
        row.costs = _costs(row.records)
    measured = sorted((row for row in rows.values() if row.cells), key=_row_order)
    papers = _published_rows(published, metric_kinds, made)
    if any(kind.key == 'time' for kind in kinds):
        _published_costs(published, papers)
    cost_columns = [
        Column(kind.cost, kind, kind.header, higher_is_better=False) for kind in kinds if kind.cost
    ]
    table.rows = measured + [row for row in papers.values() if row.cells]
    _cost_cells(table.rows, cost_columns)
    _deltas(table.rows)
    used = {column_id for row in table.rows for column_id in row.cells}
    order = {kind.key: index for index, kind in enumerate(kinds)}
    table.columns = sorted(
        (column for column in [*made.values(), *cost_columns] if column.id in used),
        key=lambda column: (
            order[column.kind.key],
            column.dataset,
            column.note == AS_PUBLISHED,
            column.id,
        ),
    )
    if not table.rows or not table.columns:
        tasks = ', '.join(sorted({record['task'] for record in records})) or 'none'
        raise TableError(
            f'nothing to show: no record fills the columns {", ".join(columns)} '
            f'(tasks of the {len(records)} records: {tasks}).'
        )
    _name_columns(table.columns)
    _ranks(table)
    table.footnotes = _footnotes(table)
    return table


def _row_key(record: Mapping) -> str:
    pretraining = record['pretraining'] or {}
    return _key(
        *(record[name] for name in ('method', 'variant', 'backbone')),
        record['pretraining'] is None,
        *(
            pretraining.get(name)
            for name in ('dataset', 'epochs', 'images_seen', 'labels_in_pretraining')
        ),
    )


def _measured_row(record: RunRecord) -> Row:
    pretraining = record['pretraining']
    names = ('dataset', 'epochs', 'images_seen')
    return Row(
        record['method'],
        record['variant'],
        record['backbone'],
        None if pretraining is None else {name: pretraining[name] for name in names},
        False if pretraining is None else pretraining['labels_in_pretraining'],
    )


def _row_order(row: Row):
    methods = list(METHOD_NAMES)
    pretraining = row.pretraining or {}
    return (
        row.backbone_text,
        pretraining.get('dataset') or '',
        methods.index(row.method) if row.method in methods else len(methods),
        row.method,
        row.labels_in_pretraining,
        pretraining.get('images_seen') or 0,
        pretraining.get('epochs') or 0,
        row.variant_text,
    )


def _check_metrics(record: RunRecord, asked: Iterable[ColumnKind]) -> None:
    kinds = [kind for kind in COLUMNS.values() if record['task'] in kind.tasks]
    found = (_metric_name(kind, record['task'], record['metrics']) for kind in (*kinds, *asked))
    if kinds and not any(found):
        wanted = ', '.join(name for kind in kinds for name in kind.metrics)
        raise TableError(
            f'{record.path or record["id"]}: a record of {record["task"]} with the metrics '
            f'{", ".join(record["metrics"])}; the tables read one of {wanted}.'
        )


def _metric_name(kind: ColumnKind, task: str, metrics: Iterable[str]) -> str | None:
    if task not in kind.tasks:
        return None
    return next((name for name in kind.metrics if name in metrics), None)


def leading_metric(record: Mapping, columns: Iterable[str]) -> str:
    """The metric of a record that the first of these columns shows; its first where none does."""
    kinds = [COLUMNS[name] for name in columns if name in COLUMNS]
    found = (_metric_name(kind, record['task'], record['metrics']) for kind in kinds)
    return next(filter(None, found), next(iter(record['metrics'])))


def _in_percent(value: float, unit: str) -> tuple[float, str]:
    return (100 * value, '%') if unit == 'fraction' else (value, unit)


def _measured_column(
    kind: ColumnKind, record: Mapping, name: str, made: dict[str, Column]
) -> Column:
    dataset, protocol = record['dataset'], record['protocol']
    column_id = _key(kind.key, dataset, protocol)
    if column_id in made:
        return made[column_id]
    stated = f'protocol {protocol["name"]!r} {protocol["version"]}'
    if record['task'] == 'scratch':
        # Its recipe may be its own. It is shown beside fine-tuning, as the papers do; ranks and
        # differences go by the protocol of the cell, so they stay apart.
        data = _key(kind.key, dataset)[:-1]
        beside = [column for key, column in made.items() if key.startswith(data)]
        if len(beside) == 1:
            if stated not in beside[0].note:
                beside[0].note += f'; from scratch: {stated}'
            return beside[0]
    about = [stated, dataset['description']]
    for number, what in ((dataset['n_train'], 'training'), (dataset['n_test'], 'test')):
        about.append(None if number is None else f'{number:,} {what} images')
    about.append(None if dataset['split'] is None else f'split {dataset["split"]}')
    entry = record['metrics'][name]
    made[column_id] = Column(
        column_id,
        kind,
        kind.header,
        _in_percent(entry['value'], entry['unit'])[1],
        dataset_text(dataset['name']),
        '; '.join(part for part in about if part),
        entry['higher_is_better'],
    )
    return made[column_id]


def _measured_cell(found: list) -> Cell:
    numbers = [value for value, _ in found]
    return Cell(
        statistics.fmean(numbers),
        statistics.stdev(numbers) if len(numbers) > 1 else None,
        len(numbers),
        len({_pretraining_key(record) for _, record in found} - {None}),
        records=tuple(record['id'] for _, record in found),
        protocol=_key(found[0][1]['protocol']),
    )


def _pretraining_key(record: Mapping) -> str | None:
    pretraining = record['pretraining']
    return pretraining and (pretraining['sha256'] or f'seed {pretraining["seed"]}')


def _costs(records: Sequence[Mapping]) -> dict[str, float]:
    """Mean cost of a row's pre-training runs, teachers included; an unknown part leaves it out."""
    runs = {_pretraining_key(record): record['pretraining'] for record in records}
    runs.pop(None, None)
    lists = defaultdict(list)
    for run in runs.values():
        parts = [part for part in (run, run['teacher']) if part]
        for name in ('images_seen', 'flops'):
            lists[name].append([part[name] for part in parts])
        lists['time'].append([part['seconds'] for part in parts])
        lists['device_hours'].append(
            [
                None
                if part['seconds'] is None or part['device_count'] is None
                else part['seconds'] * part['device_count'] / 3600
                for part in parts
            ]
        )
    return {
        name: statistics.fmean(sum(parts) for parts in runs_parts)
        for name, runs_parts in lists.items()
        if all(part is not None for parts in runs_parts for part in parts)
    }


def _cost_cells(rows: Iterable[Row], columns: Iterable[Column]) -> None:
    for row in rows:
        for column in columns:
            if column.id in row.costs:
                ids = tuple(record['id'] for record in row.records)
                row.cells[column.id] = Cell(row.costs[column.id], records=ids)


def _published_rows(
    published: Sequence[PublishedResult],
    kinds: Sequence[ColumnKind],
    made: dict[str, Column],
) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for result in published:
        row = rows.setdefault(_published_key(result), _published_row(result))
        if result.note and result.note not in row.notes:
            row.notes += (result.note,)
        for kind in kinds:
            if _metric_name(kind, result.task, [result.metric]) is None:
                continue
            value, unit = _in_percent(result.value, result.unit)
            same = [
                column
                for column in made.values()
                if column.kind.key == kind.key
                and column.dataset == dataset_text(result.dataset)
                and (column.unit, column.higher_is_better) == (unit, result.higher_is_better)
            ]
            # Side by side with the measured one; which of two protocols, nobody could say.
            if len(same) == 1:
                column_id = same[0].id
            else:
                column_id = _key(kind.key, result.dataset, 'published')
                made.setdefault(
                    column_id,
                    Column(
                        column_id,
                        kind,
                        kind.header,
                        unit,
                        dataset_text(result.dataset),
                        AS_PUBLISHED,
                        result.higher_is_better,
                    ),
                )
            row.cells[column_id] = Cell(value, is_delta=result.delta, protocol=result.protocol)
    return rows


def _published_key(result: PublishedResult) -> str:
    return _key(
        *(getattr(result, name) for name in ('source', 'table', 'method', 'variant', 'backbone')),
        result.pretraining,
        result.labels_in_pretraining,
        None if result.pretraining else result.dataset,
    )


def _published_row(result: PublishedResult) -> Row:
    return Row(
        result.method,
        result.variant,
        result.backbone,
        result.pretraining and {**result.pretraining, 'images_seen': None},
        result.labels_in_pretraining,
        f'{result.source_name}, {result.table}',
        result.url,
    )


def _published_costs(published: Iterable[PublishedResult], rows: Mapping[str, Row]) -> None:
    for result in published:
        if (result.task, result.metric) == ('pretrain', 'cost'):
            rows[_published_key(result)].cells['time'] = Cell(result.value, is_delta=True)


# ---- comparing -------------------------------------------------------------------------------


def _deltas(rows: Sequence[Row]) -> None:
    for row in rows:
        base = _baseline(row, rows)
        if base is None:
            continue
        for column_id, cell in row.cells.items():
            other = base.cells.get(column_id)
            if column_id in COLUMNS or other is None or other.protocol != cell.protocol:
                continue
            if not cell.is_delta and not other.is_delta:
                cell.delta = cell.mean - other.mean


def _baseline(row: Row, rows: Sequence[Row]) -> Row | None:
    """The plain MAE row to compare with, if there is exactly one.

    Same source, backbone and pre-training data; of these the one of equal images seen, else of
    equal epochs. A row without pre-training is compared if its backbone has a single MAE row.
    """
    if row.method == 'mae' and not row.variant:
        return None
    maes = [
        other
        for other in rows
        if (other.method, other.variant, other.source, other.backbone)
        == ('mae', {}, row.source, row.backbone)
        and other.pretraining
    ]
    if row.pretraining:
        maes = [o for o in maes if o.pretraining['dataset'] == row.pretraining['dataset']]
        for name in ('images_seen', 'epochs'):
            same = [o for o in maes if o.pretraining[name] == row.pretraining[name] is not None]
            if same:
                maes = same
                break
        else:
            maes = maes if all(o.pretraining['epochs'] is None for o in [row, *maes]) else []
    return maes[0] if len(maes) == 1 else None


def _ranks(table: Table) -> None:
    """Mark best and second best, as printed: rows that print the same number share the mark."""
    for column in table.columns:
        if column.kind.cost:
            continue
        groups = defaultdict(list)
        for row in table.rows:
            cell = row.cells.get(column.id)
            if cell and not cell.is_delta:
                # A published number is comparable within its own table only.
                group = _key(row.source, cell.protocol, row.labels_in_pretraining, row.backbone)
                groups[group].append(cell)
        for cells in groups.values():
            if len(cells) < 2:
                continue
            shown = sorted(
                {round(cell.mean, _digits(column)) for cell in cells},
                reverse=column.higher_is_better,
            )
            for cell in cells:
                place = shown.index(round(cell.mean, _digits(column))) + 1
                cell.rank = place if place == 1 or (place == 2 and len(cells) > 2) else 0


def _digits(column: Column) -> int:
    return 2 if column.unit == '%' else 3


def _name_columns(columns: Sequence[Column]) -> None:
    """Add to each header what tells it from the others: data set, then a number a protocol.

    A column that holds published numbers alone says so instead of a number.
    """
    datasets = {column.dataset for column in columns if column.dataset}
    for column in columns:
        if len(datasets) > 1 and column.dataset:
            column.header = f'{column.header}, {column.dataset}'
    headers = Counter(column.header for column in columns)
    for header, count in headers.items():
        if count > 1:
            same = [column for column in columns if column.header == header]
            for number, column in enumerate(same, start=1):
                alone = column.note == AS_PUBLISHED
                column.header = f'{header}, {AS_PUBLISHED if alone else f"protocol {number}"}'


def _footnotes(table: Table) -> list[str]:
    notes = []
    cells = [cell for row in table.rows for cell in row.cells.values()]
    if any(cell.n > 1 for cell in cells):
        notes.append(
            'Mean ± sample standard deviation (n - 1 in the denominator) over n runs of different '
            'seeds; where they share pre-training runs, the number of those is given.'
        )
    if any(cell.rank for cell in cells):
        notes.append(
            'Best and second best are marked within a column among rows of one backbone; measured '
            'and published rows, and rows whose pre-training saw labels and those that did not, '
            'are never ranked together. Equal as printed is equal.'
        )
    if any(cell.delta is not None for cell in cells):
        notes.append(
            'Δ: difference from the MAE row of the same source, protocol, backbone, pre-training '
            'data and images seen (or, where no MAE row has seen as many, epochs).'
        )
    if any(cell.is_delta for cell in cells):
        notes.append('"vs MAE": the source gives the difference from its MAE, not the level.')
    if any(row.labels_in_pretraining for row in table.rows):
        notes.append('†: labels were used in pre-training.')
    if any(column.kind.cost for column in table.columns):
        devices = {
            f'{part["device_count"]} × {part["device"]}'
            for row in table.rows
            for record in row.records
            for part in (record['pretraining'], (record['pretraining'] or {}).get('teacher'))
            if part and part['device']
        }
        where = f' Pre-trained on: {"; ".join(sorted(devices))}.' if devices else ''
        notes.append(
            "Pre-training cost includes the distillation teacher's; of a mixture every image "
            'counts as seen.' + where
        )
    budgets = sorted({r['budget'] for row in table.rows for r in row.records if r['budget']})
    if budgets:
        notes.append('Budget: ' + '; '.join(budgets) + '.')
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for column in table.columns:
        if column.note and column.note not in column.header:
            data = f' on {column.dataset}' if column.dataset not in column.header else ''
            alike[column.note, data].append(column.header)
    notes += [f'{", ".join(names)}{data}: {note}.' for (note, data), names in alike.items()]
    told: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in table.rows:
        for note in row.notes:
            note = ' '.join(note.split()).rstrip('.')
            told[row.source, note].append(f'{row.method_text} {row.variant_text}'.rstrip())
    for (source, note), names in told.items():
        place = f'{source}, {names[0]}' if len(set(names)) == 1 else source
        notes.append(f'{place}: {note}.')
    return notes


# ---- writing ---------------------------------------------------------------------------------

LABELS = ('Method', 'Variant', 'Backbone', 'Pre-training', 'Source')


def row_labels(row: Row) -> tuple[str, ...]:
    """The texts of a row's first columns, in the order of `LABELS`; unescaped."""
    mark = ' †' if row.labels_in_pretraining else ''
    return (
        row.method_text + mark,
        row.variant_text,
        row.backbone_text,
        row.pretraining_text,
        row.source_text,
    )


def column_header(column: Column) -> str:
    """A column's header with its unit; unescaped."""
    return f'{column.header} ({column.unit})' if column.unit else column.header


def cell_parts(cell: Cell, column: Column) -> tuple[str, str]:
    """A cell as people read it, in two parts: mean ± std; runs and difference from MAE."""
    if column.kind.cost:
        return (
            f'{cell.mean:+g} % vs MAE' if cell.is_delta else cost_text(column.id, cell.mean),
            '',
        )
    digits = _digits(column)
    if cell.is_delta:
        return f'{cell.mean:+.{digits}f} vs MAE', ''
    text = f'{cell.mean:.{digits}f}'
    if cell.std is not None:
        text += f' ± {cell.std:.{digits}f}'
    details = []
    if cell.records:
        details.append(f'n={cell.n}')
    if 0 < cell.pretrainings < cell.n:
        plural = 's' if cell.pretrainings > 1 else ''
        details.append(f'{cell.pretrainings} pre-training{plural}')
    if cell.delta is not None:
        details.append(f'Δ {cell.delta:+.{digits}f}')
    return text, ', '.join(details)


def cell_text(cell: Cell, column: Column) -> str:
    """Both parts of `cell_parts` on one line."""
    value, details = cell_parts(cell, column)
    return f'{value} ({details})' if details else value


def cost_text(name: str, value: float) -> str:
    """A cost with a unit that suits its size. `value`: seconds, device hours, images or FLOPs."""
    if name == 'time':
        for size, unit in ((3600, 'h'), (60, 'min')):
            if value >= size:
                return f'{value / size:,.1f} {unit}'
        return f'{value:.1f} s'
    if name == 'device_hours':
        return f'{value:,.1f} h' if value >= 10 else f'{value:.2g} h'
    if name == 'images_seen':
        return f'{value:,.0f}'
    return f'{value:.2e}'


def to_markdown(table: Table, base: str | os.PathLike | None = None) -> str:
    """A Markdown table (GitHub's), every measured cell with links to its records.

    Args:
        base: the folder the text will lie in; links are relative to it (default: the current one).
    """
    base = Path(base or '.').absolute()
    headers = [*LABELS, *(column_header(column) for column in table.columns)]
    lines = [
        '| ' + ' | '.join(map(escape_markdown, headers)) + ' |',
        '|' + ' --- |' * len(LABELS) + ' ---: |' * len(table.columns),
    ]
    for row in table.rows:
        labels = [escape_markdown(text) for text in row_labels(row)]
        if row.url:
            labels[-1] = f'[{labels[-1]}](<{_url(row.url)}>)'
        cells = [
            _markdown_cell(row.cells.get(column.id), column, table, base)
            for column in table.columns
        ]
        lines.append('| ' + ' | '.join([*labels, *cells]) + ' |')
    notes = [f'- {escape_markdown(note)}' for note in table.footnotes]
    if any(cell.rank for row in table.rows for cell in row.cells.values()):
        notes.append('- **Bold**: best; *italic*: second best.')
    return '\n'.join([*lines, '', *notes]) + '\n'


def _markdown_cell(cell: Cell | None, column: Column, table: Table, base: Path) -> str:
    if cell is None:
        return ''
    text = escape_markdown(cell_text(cell, column))
    text = {0: text, 1: f'**{text}**', 2: f'*{text}*'}[cell.rank]
    if column.kind.cost:  # the same records as the row's results
        return text
    for number, record_id in enumerate(cell.records, start=1):
        path = table.records[record_id].path
        if path is None:
            text += f' `{record_id}`'
        else:
            link = Path(os.path.relpath(path, base)).as_posix()
            text += f' [{number}](<{_url(link)}>)'
    return text


def _url(text: str) -> str:
    return quote(text, safe="/:?=&#%+,;@!$'()*~._-")


def escape_markdown(text: str) -> str:
    """`text` so that Markdown (in a table too) shows it as it is, on one line."""
    text = ' '.join(text.split())
    text = re.sub(r'([\\`*\[\]~|$])', r'\\\1', text)
    text = text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')
    # Only outside a word does _ mean emphasis, only at the start can these open a list or heading.
    text = re.sub(r'(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])', r'\\_', text)
    text = re.sub(r'^([-+#=])(?=[-+#=\s]|$)', r'\\\1', text)
    return re.sub(r'^(\d+)([.)])(?=\s|$)', r'\1\\\2', text)


def to_text(table: Table, width: int | None = None) -> str:
    """The table for a terminal, without the links.

    What all rows share stands above it; columns that do not fit go into a second table below.

    Args:
        width: characters a line (default: the terminal's).
    """
    out = io.StringIO()
    console = Console(file=out, width=width or Console().width, color_system=None)
    # A long variant must leave room for numbers beside it.
    labels, shared = _text_labels(table, room=max(30, console.width // 3))
    for text in shared:
        console.print(_terminal(text))
    columns = [_text_column(column, table.rows) for column in table.columns]
    room = console.width - _wide(labels) - 4  # padding and the table's edges
    while columns:
        used = max(1, sum(total <= room for total in accumulate(_wide(c) + 3 for c in columns)))
        drawn = RichTable(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), collapse_padding=True)
        drawn.add_column(labels[0], overflow='fold')
        for column in columns[:used]:
            drawn.add_column(column[0], justify='right', no_wrap=used > 1)
        for line in list(zip(labels, *columns[:used], strict=True))[1:]:
            drawn.add_row(*line)
        console.print(drawn)
        columns = columns[used:]
    for note in table.footnotes:
        console.print(_terminal(f'- {note}'))
    if any(cell.rank for row in table.rows for cell in row.cells.values()):
        console.print(_terminal('- *: best; +: second best.'))
    return out.getvalue()


def _text_labels(table: Table, room: int) -> tuple[list[Text], list[str]]:
    """Header and row labels for the terminal, and lines for what all rows have in common."""
    labels = [_terminal('Method')]
    shared = []
    lines = [list(row_labels(row)) for row in table.rows]
    for index in (2, 3, 4):
        there = {line[index] for line in lines} - {'none'}
        if len(there) == 1:
            shared.append(f'{LABELS[index]}: {there.pop()}')
            for line in lines:
                line[index] = ''
    for line in lines:
        told = [part for part in line if part and part not in ('none', 'measured')]
        parts = (
            _terminal(piece)
            for part in told
            for piece in (textwrap.wrap(part, room) if len(part) > room else [part])
        )
        labels.append(Text('\n').join(parts))
    return labels, [line for line in shared if not line.endswith(': measured')]


def _text_column(column: Column, rows: Sequence[Row]) -> list[Text]:
    texts = [Text('\n').join(map(_terminal, textwrap.wrap(column_header(column), 12)))]
    for row in rows:
        cell = row.cells.get(column.id)
        if cell is None:
            texts.append(Text(''))
            continue
        value, details = cell_parts(cell, column)
        mark = ('', '* ', '+ ')[cell.rank]
        lines = filter(None, (mark + value, details))
        texts.append(Text('\n').join(map(_terminal, lines)))
    return texts


def _wide(texts: Iterable[Text]) -> int:
    return max(cell_len(line) for text in texts for line in text.plain.split('\n'))


def _terminal(text: str) -> Text:
    # A name must not be able to move the cursor or change colours.
    return Text(''.join(c if c.isprintable() else '\ufffd' for c in ' '.join(text.split())))


def to_csv(table: Table) -> str:
    """The numbers in full precision.

    Each metric has six columns: the mean (header and unit), then std, n, delta, rank (1, 2 or
    nothing) and the ids of its records; the records of the whole row stand at its end.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    head = ['method', 'variant', 'backbone', 'pretraining_dataset', 'epochs', 'images_seen']
    head += ['labels_in_pretraining', 'source']
    units = {'time': ' (s)', 'device_hours': ' (h)'}
    for column in table.columns:
        name = column_header(column) + units.get(column.id, '')
        head.append(name)
        if not column.kind.cost:
            head += [f'{name} {what}' for what in ('std', 'n', 'delta', 'rank', 'records')]
    writer.writerow([*head, 'records', 'notes'])
    for row in table.rows:
        pretraining = row.pretraining or {}
        line = [
            row.method,
            json.dumps(row.variant, sort_keys=True, ensure_ascii=False),
            row.backbone_text,
            *(pretraining.get(name) for name in ('dataset', 'epochs', 'images_seen')),
            row.labels_text,
            row.source_text,
        ]
        for column in table.columns:
            cell = row.cells.get(column.id)
            if column.kind.cost:
                line.append(_csv_value(cell))
            elif cell is None:
                line += [None] * 6
            else:
                line += [_csv_value(cell), cell.std, cell.n if cell.records else None, cell.delta]
                line += [cell.rank or None, ' '.join(cell.records)]
        ids = ' '.join(record['id'] for record in row.records)
        writer.writerow([*line, ids, ' '.join(row.notes)])
    return out.getvalue()


def _csv_value(cell: Cell | None):
    if cell is None:
        return None
    return f'{cell.mean:+g} vs MAE' if cell.is_delta else cell.mean


def to_latex(table: Table) -> str:
    r"""A LaTeX table for the package `booktabs`; the records of each row stand in a comment.

    Best is bold, second best underlined; the footnotes follow in `\footnotesize`.
    """
    headers = [*LABELS, *(column_header(column) for column in table.columns)]
    lines = [
        r'% \usepackage{booktabs}',
        rf'\begin{{tabular}}{{{"l" * len(LABELS)}{"r" * len(table.columns)}}}',
        r'\toprule',
        ' & '.join(map(escape_latex, headers)) + r' \\',
        r'\midrule',
    ]
    for index, row in enumerate(table.rows):
        if index and row.source and not table.rows[index - 1].source:
            lines.append(r'\midrule')
        cells = [_latex_cell(row.cells.get(column.id), column) for column in table.columns]
        lines.append(' & '.join([*map(escape_latex, row_labels(row)), *cells]) + r' \\')
        if row.records:
            lines.append('% records: ' + ' '.join(record['id'] for record in row.records))
    lines += [r'\bottomrule', r'\end{tabular}', '', r'{\footnotesize']
    lines += [escape_latex(note) + r'\\' for note in table.footnotes]
    return '\n'.join([*lines, '}']) + '\n'


def _latex_cell(cell: Cell | None, column: Column) -> str:
    if cell is None:
        return '--'
    text = escape_latex(cell_text(cell, column))
    return {0: text, 1: rf'\textbf{{{text}}}', 2: rf'\underline{{{text}}}'}[cell.rank]


_LATEX = {
    '\\': r'\textbackslash{}',
    '{': r'\{',
    '}': r'\}',
    '$': r'\$',
    '&': r'\&',
    '#': r'\#',
    '_': r'\_',
    '%': r'\%',
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    '<': r'\textless{}',
    '>': r'\textgreater{}',
    '|': r'\textbar{}',
    '"': r'\textquotedbl{}',
    '[': '{[}',  # after a line's \\ it would be an optional argument
    ']': '{]}',
    '±': r'$\pm$',
    'Δ': r'$\Delta$',
    '×': r'$\times$',
    '†': r'$\dagger$',
}


def escape_latex(text: str) -> str:
    """`text` so that LaTeX shows it as it is, on one line."""
    return ''.join(_LATEX.get(character, character) for character in ' '.join(text.split()))
