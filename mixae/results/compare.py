"""From run records and published numbers to a table, and what in it may be compared with what.

- A cell is the mean over the seeds of one method, variant, backbone and pre-training under one
  evaluation protocol on one data set; other protocols and data sets are other columns.
- Ranks and differences are taken within a column among rows of one backbone; measured rows are
  never ranked with published ones, nor rows whose pre-training saw labels with those that did not.
"""

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from mixae.errors import TableError
from mixae.results.names import COLUMNS, ColumnKind, dataset_name, in_percent
from mixae.results.published import PublishedResult
from mixae.results.record import RunRecord
from mixae.results.table import (
    AS_PUBLISHED,
    Cell,
    Column,
    Row,
    Table,
    metric_shown,
    parse_columns,
)


def build_table(
    records: Sequence[RunRecord],
    published: Sequence[PublishedResult] = (),
    columns: Sequence[str] = tuple(COLUMNS),
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
    made: dict[str, Column] = {}
    rows = _measured_rows(records, kinds, made)
    rows += _published_rows(published, kinds, made)
    made |= {
        kind.key: Column(kind.key, kind, kind.header, higher_is_better=False)
        for kind in kinds
        if kind.is_cost
    }
    used = {column_id for row in rows for column_id in row.cells}
    order = {kind.key: index for index, kind in enumerate(kinds)}
    table = Table(
        sorted(
            (column for column in made.values() if column.id in used),
            key=lambda c: (order[c.kind.key], c.dataset, c.note == AS_PUBLISHED, c.id),
        ),
        rows,
        {record['id']: record for record in records},
    )
    if not used:
        tasks = ', '.join(sorted({record['task'] for record in records})) or 'none'
        raise TableError(
            f'nothing to show: no record fills the columns {", ".join(columns)} '
            f'(tasks of the {len(records)} records: {tasks}).'
        )
    _name_columns(table.columns)
    _take_differences(table.rows)
    _rank(table)
    return table


def _key(*values) -> str:
    return json.dumps(values, sort_keys=True)


# ---- measured --------------------------------------------------------------------------------


def _measured_rows(
    records: Iterable[RunRecord], kinds: Sequence[ColumnKind], made: dict[str, Column]
) -> list[Row]:
    """The rows of records, in order; the columns that they fill are added to `made`."""
    rows: dict[str, Row] = {}
    values: dict[tuple[str, str], list] = defaultdict(list)  # (row, column) -> (value, record)
    for record in sorted(records, key=lambda record: record['task'] == 'scratch'):
        if record['task'] == 'pretrain':
            continue  # its costs come with the evaluations that used it
        row_key = _row_key(record)
        rows.setdefault(row_key, _measured_row(record)).records.append(record)
        _check_metrics(record, kinds)
        for kind in kinds:
            name = metric_shown(kind, record['task'], record['metrics'])
            if name is not None:
                value, column = _measured_value(kind, record, name, made)
                values[row_key, column.id].append((value, record))
    for (row_key, column_id), found in values.items():
        rows[row_key].cells[column_id] = _measured_cell(found)
    shown = sorted((row for row in rows.values() if row.cells), key=lambda row: row.order)
    for row in shown:
        costs = _costs(row.records)
        ids = tuple(record['id'] for record in row.records)
        for kind in kinds:
            if kind.is_cost and kind.key in costs:
                row.cells[kind.key] = Cell(costs[kind.key], records=ids)
    return shown


def _row_key(record: Mapping) -> str:
    pretraining = record['pretraining'] or {}
    names = ('dataset', 'epochs', 'images_seen', 'labels_in_pretraining')
    return _key(
        *(record[name] for name in ('method', 'variant', 'backbone')),
        record['pretraining'] is None,
        *(pretraining.get(name) for name in names),
    )


def _measured_row(record: RunRecord) -> Row:
    pretraining = record['pretraining']
    names = ('dataset', 'epochs', 'images_seen')
    return Row(
        record['method'],
        record['variant'],
        record['backbone'],
        pretraining and {name: pretraining[name] for name in names},
        bool(pretraining and pretraining['labels_in_pretraining']),
    )


def _check_metrics(record: RunRecord, asked: Iterable[ColumnKind]) -> None:
    kinds = [kind for kind in COLUMNS.values() if record['task'] in kind.tasks]
    found = (metric_shown(kind, record['task'], record['metrics']) for kind in (*kinds, *asked))
    if kinds and not any(found):
        wanted = ', '.join(name for kind in kinds for name in kind.metrics)
        raise TableError(
            f'{record.path or record["id"]}: a record of {record["task"]} with the metrics '
            f'{", ".join(record["metrics"])}; the tables read one of {wanted}.'
        )


def _measured_value(
    kind: ColumnKind, record: RunRecord, name: str, made: dict[str, Column]
) -> tuple[float, Column]:
    """A metric of a record in its column's unit, and the column, which is made if it is new."""
    entry = record['metrics'][name]
    place = f'{record.path or record["id"]}: {name}'
    value, unit = in_percent(entry['value'], entry['unit'])
    if kind.key in COLUMNS and unit != kind.unit:
        wanted = "'%' or 'fraction' (0..1)" if kind.unit == '%' else repr(kind.unit)
        raise TableError(f'{place} has the unit {unit!r}; expected {wanted}.')
    column = _measured_column(kind, record, unit, entry['higher_is_better'], made)
    if (unit, entry['higher_is_better']) != (column.unit, column.higher_is_better):
        raise TableError(
            f'{place} is given in {unit or "no unit"!r} '
            f'(higher_is_better={entry["higher_is_better"]}), other records of {record["task"]} '
            f'in {column.unit or "no unit"!r} (higher_is_better={column.higher_is_better}).'
        )
    return value, column


def _measured_column(
    kind: ColumnKind, record: Mapping, unit: str, higher_is_better: bool, made: dict[str, Column]
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
    note = '; '.join(part for part in about if part)
    data = dataset_name(dataset['name'])
    made[column_id] = Column(column_id, kind, kind.header, unit, data, note, higher_is_better)
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
    costs = defaultdict(list)
    for run in runs.values():
        parts = [part for part in (run, run['teacher']) if part]
        for name, entry in dict(time='seconds', images_seen='images_seen', flops='flops').items():
            costs[name].append([part[entry] for part in parts])
        unknown = any(part['seconds'] is None or part['device_count'] is None for part in parts)
        costs['device_hours'].append(
            [None if unknown else part['seconds'] * part['device_count'] / 3600 for part in parts]
        )
    return {
        name: statistics.fmean(map(sum, runs_parts))
        for name, runs_parts in costs.items()
        if not any(None in parts for parts in runs_parts)
    }


# ---- published -------------------------------------------------------------------------------


def _published_rows(
    published: Sequence[PublishedResult], kinds: Sequence[ColumnKind], made: dict[str, Column]
) -> list[Row]:
    """The rows of published numbers, as printed; the columns that they add go into `made`."""
    rows: dict[str, Row] = {}
    for result in published:
        row = rows.setdefault(_published_key(result), _published_row(result))
        if result.note and result.note not in row.notes:
            row.notes += (result.note,)
        for kind in kinds:
            if kind.key == 'time' and (result.task, result.metric) == ('pretrain', 'cost'):
                row.cells['time'] = Cell(result.value, is_delta=True)
            elif metric_shown(kind, result.task, [result.metric]):
                value, unit = in_percent(result.value, result.unit)
                column = _published_column(kind, result, unit, made)
                cell = Cell(value, is_delta=result.delta, protocol=result.protocol)
                row.cells[column.id] = cell
    return [row for row in rows.values() if row.cells]


def _published_column(
    kind: ColumnKind, result: PublishedResult, unit: str, made: dict[str, Column]
) -> Column:
    data = dataset_name(result.dataset)
    there = (kind.key, data, unit, result.higher_is_better)
    same = [
        c for c in made.values() if (c.kind.key, c.dataset, c.unit, c.higher_is_better) == there
    ]
    # Side by side with the measured one; which of two protocols, nobody could say.
    if len(same) == 1:
        return same[0]
    column_id = _key(kind.key, result.dataset, 'published')
    column = Column(column_id, kind, kind.header, unit, data, AS_PUBLISHED, result.higher_is_better)
    return made.setdefault(column_id, column)


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


# ---- comparing -------------------------------------------------------------------------------


def _take_differences(rows: Sequence[Row]) -> None:
    """Give every cell its difference from the plain MAE row that it may be compared with."""
    plain = defaultdict(list)
    for row in rows:
        if row.method == 'mae' and not row.variant and row.pretraining:
            plain[row.source, _key(row.backbone)].append(row)
    for row in rows:
        base = _baseline(row, plain[row.source, _key(row.backbone)])
        for column_id, cell in row.cells.items() if base else ():
            other = base.cells.get(column_id)
            if column_id in COLUMNS or other is None or other.protocol != cell.protocol:
                continue
            if not cell.is_delta and not other.is_delta:
                cell.delta = cell.mean - other.mean


def _baseline(row: Row, maes: Sequence[Row]) -> Row | None:
    """The plain MAE row to compare with, if there is exactly one.

    Of those of its pre-training data the one of equal images seen, else of equal epochs. A row
    without pre-training is compared if its backbone has a single MAE row.

    Args:
        maes: the plain MAE rows of the same source and backbone.
    """
    if row.method == 'mae' and not row.variant:
        return None
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


def _rank(table: Table) -> None:
    """Mark best and second best, as printed: rows that print the same number share the mark."""
    for column in table.columns:
        if column.kind.is_cost:
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
                {round(cell.mean, column.digits) for cell in cells},
                reverse=column.higher_is_better,
            )
            for cell in cells:
                place = shown.index(round(cell.mean, column.digits)) + 1
                cell.rank = place if place == 1 or (place == 2 and len(cells) > 2) else 0


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
