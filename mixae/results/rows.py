"""From run records and published numbers to rows and the columns that they fill.

A cell is the mean over the seeds of one method, variant, backbone and pre-training under one
evaluation protocol on one data set; other protocols and data sets are other columns.
"""

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mixae.errors import TableError
from mixae.results.names import (
    COLUMNS,
    SMALL_SETS,
    ColumnKind,
    check_value,
    dataset_name,
    in_percent,
    is_undefined,
    settings_apart,
)
from mixae.results.published import PublishedResult
from mixae.results.record import RunRecord
from mixae.results.table import AS_PUBLISHED, Cell, Column, Row, metric_shown
from mixae.results.watched import watched_record


def key_of(*values) -> str:
    return json.dumps(values, sort_keys=True)


def check_records(records: Sequence[RunRecord]) -> None:
    """Refuse what no table may show.

    Raises:
        TableError: names the files of values that a metric cannot have, and of equal ids.
    """
    problems = [
        f'{_place(record)}: {problem}.'
        for record in records
        for name, entry in record['metrics'].items()
        if not is_undefined(name, entry['value'])
        if (problem := check_value(name, entry['value'], entry['unit']))
    ]
    ids = Counter(record['id'] for record in records)
    for id_ in (id_ for id_, count in ids.items() if count > 1):
        same = ', '.join(str(_place(record)) for record in records if record['id'] == id_)
        problems.append(f'{ids[id_]} records have the id {id_}: {same}. Keep one of them.')
    if problems:
        raise TableError('\n'.join(problems))


def _place(record: RunRecord) -> Path | str:
    return record.path or record['id']


# ---- measured --------------------------------------------------------------------------------


def measured_rows(
    records: Iterable[RunRecord], kinds: Sequence[ColumnKind], made: dict[str, Column]
) -> list[Row]:
    """The rows of records, in order; the columns that they fill are added to `made`."""
    records = list(records)
    rows: dict[str, Row] = {}
    values: dict[tuple[str, str], list] = defaultdict(list)  # (row, column) -> (value, record)
    watched: set[tuple] = set()  # (row, pre-training)
    scratch = _scratch_protocols(records)
    for record in sorted(records, key=lambda record: record['task'] == 'scratch'):
        if record['task'] == 'pretrain':
            continue  # its costs come with the evaluations that used it
        row_key = _row_key(record)
        rows.setdefault(row_key, _measured_row(record)).records.append(record)
        _check_metrics(record, kinds)
        told = [record]
        run = row_key, _pretraining_key(record)
        # All evaluations of one pre-training carry its curves.
        if run not in watched and (of_pretraining := watched_record(record)):
            watched.add(run)
            told.append(of_pretraining)
        for one in told:
            for kind in kinds:
                name = metric_shown(kind, one['task'], one['metrics'])
                if name is not None:
                    value, column = _measured_value(kind, one, name, made, scratch)
                    values[row_key, column.id].append((value, one))
    for (row_key, column_id), found in values.items():
        row, defined = rows[row_key], [run for run in found if run[0] is not None]
        if defined:
            row.cells[column_id] = _measured_cell(defined)
        if len(defined) < len(found):
            row.undefined[column_id] = f'{len(found) - len(defined)} of {len(found)}'
    shown = [row for row in rows.values() if row.cells or row.undefined]
    shown.sort(key=lambda row: row.order)
    for row in shown:
        costs = _costs(row.records)
        ids = tuple(record['id'] for record in row.records)
        for kind in kinds:
            if kind.is_cost and kind.key in costs:
                row.cells[kind.key] = Cell(costs[kind.key], records=ids)
    return shown


def _row_key(record: Mapping) -> str:
    pretraining = record['pretraining'] or {}
    teacher = pretraining.get('teacher') or {}
    names = ('dataset', 'epochs', 'part', 'images_seen', 'labels_in_pretraining')
    return key_of(
        record['method'],
        settings_apart(record['method'], record['variant']),
        record['backbone'],
        record['pretraining'] is None,
        *(pretraining.get(name) for name in names),
        *(teacher.get(name) for name in ('epochs', 'images_seen')),
        # Two files of others may come from two recipes: only runs with a known seed are repeats.
        pretraining.get('sha256') if pretraining.get('seed') is None else None,
    )


def _measured_row(record: RunRecord) -> Row:
    pretraining = record['pretraining']
    names = ('dataset', 'epochs', 'part', 'images_seen', 'teacher')
    return Row(
        record['method'],
        settings_apart(record['method'], record['variant']),
        record['backbone'],
        pretraining and {name: pretraining.get(name) for name in names},
        pretraining['labels_in_pretraining'] if pretraining else False,
    )


def _check_metrics(record: RunRecord, asked: Iterable[ColumnKind]) -> None:
    kinds = [kind for kind in COLUMNS.values() if record['task'] in kind.tasks]
    found = (metric_shown(kind, record['task'], record['metrics']) for kind in (*kinds, *asked))
    if kinds and not any(found):
        wanted = ', '.join(name for kind in kinds for name in kind.metrics)
        raise TableError(
            f'{_place(record)}: a record of {record["task"]} with the metrics '
            f'{", ".join(record["metrics"])}; the tables read one of {wanted}.'
        )


def _scratch_protocols(records: Iterable[Mapping]) -> dict[str, set[str]]:
    """By data set: the protocols under which models were trained from scratch."""
    protocols = defaultdict(set)
    for record in records:
        if record['task'] == 'scratch':
            protocols[key_of(record['dataset'])].add(key_of(record['protocol']))
    return protocols


def _measured_value(
    kind: ColumnKind,
    record: RunRecord,
    name: str,
    made: dict[str, Column],
    scratch: Mapping[str, set[str]],
) -> tuple[float | None, Column]:
    """A metric of a record in its column's unit, and the column, which is made if it is new.

    The value is None where it is undefined.
    """
    entry = record['metrics'][name]
    place = f'{_place(record)}: {name}'
    undefined = is_undefined(name, entry['value'])
    value, unit = in_percent(0 if undefined else entry['value'], entry['unit'])
    if kind.key in COLUMNS and unit != kind.unit:
        wanted = "'%' or 'fraction' (0..1)" if kind.unit == '%' else repr(kind.unit)
        raise TableError(f'{place} has the unit {unit!r}; expected {wanted}.')
    better = entry['higher_is_better']
    column = _measured_column(kind, record, unit, better, made, scratch)
    if (unit, better) != (column.unit, column.higher_is_better):
        raise TableError(
            f'{place} is given in {unit or "no unit"!r} '
            f'(higher_is_better={better}), other records of {record["task"]} '
            f'in {column.unit or "no unit"!r} (higher_is_better={column.higher_is_better}).'
        )
    return None if undefined else value, column


def _measured_column(
    kind: ColumnKind,
    record: Mapping,
    unit: str,
    higher_is_better: bool,
    made: dict[str, Column],
    scratch: Mapping[str, set[str]],
) -> Column:
    dataset, protocol = record['dataset'], record['protocol']
    column_id = key_of(kind.key, dataset, protocol)
    if column_id in made:
        return made[column_id]
    stated = f'protocol {protocol["name"]!r} {protocol["version"]}'
    if record['task'] == 'scratch' and len(scratch[key_of(dataset)]) == 1:
        # Its recipe may be its own. It is shown beside fine-tuning, as the papers do; ranks and
        # differences go by the protocol of the cell, so they stay apart. Of several recipes each
        # has its own column.
        data = key_of(kind.key, dataset)[:-1]
        beside = [column for key, column in made.items() if key.startswith(data)]
        if len(beside) == 1:
            if stated not in beside[0].note:
                beside[0].note += f'; from scratch: {stated}'
            return beside[0]
    about = [stated, dataset['description']]
    for number, what in ((dataset['n_train'], 'training'), (dataset['n_test'], 'test')):
        about.append(None if number is None else f'{number:,} {what} images')
    if tested := dataset.get('n_classes_tested'):
        about.append(f'{tested:,} classes tested, not all')
    about.append(None if dataset['split'] is None else f'split {dataset["split"]}')
    note = '; '.join(part for part in about if part)
    data = dataset_name(dataset['name'])
    made[column_id] = Column(column_id, kind, kind.header, unit, data, note, higher_is_better)
    return made[column_id]


def _measured_cell(found: list) -> Cell:
    repeats, by_seed = defaultdict(list), defaultdict(list)
    for value, record in found:
        seed = _seed_key(record)
        by_seed[seed].append(value)
        # What was watched in two pre-trainings of one seed, on two machines, is no second sample.
        repeats[seed, record['seed']].append(value)
    numbers = [statistics.fmean(values) for values in repeats.values()]
    means = {seed: statistics.fmean(values) for seed, values in by_seed.items()}
    (protocol,) = {key_of(record['protocol']) for _, record in found}
    return Cell(
        statistics.fmean(means.values()),
        statistics.stdev(numbers) if len(numbers) > 1 else None,
        len(numbers),
        len(by_seed) if found[0][1]['pretraining'] else 0,
        by_seed=means,
        records=tuple(record['id'] for _, record in found),
        protocol=protocol,
    )


def _seed_key(record: Mapping) -> str:
    """What pairs a run with another row's: the seed of the pre-training, or of a run without one.

    Several evaluations of one pre-training are one result: they say nothing of another one's.
    """
    pretraining = record['pretraining']
    seed = pretraining['seed'] if pretraining else record['seed']
    return f'unknown, {_pretraining_key(record) or record["id"]}' if seed is None else str(seed)


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


def add_means(rows: Sequence[Row], made: dict[str, Column]) -> None:
    """A column for each protocol that several small data sets have: the mean over them.

    Rows that lack one of them have no mean, as theirs would be of other sets. It is taken over the
    seeds that all sets have.
    """
    groups = defaultdict(list)
    for column in made.values():
        if column.dataset in SMALL_SETS:
            kind, _, protocol = json.loads(column.id)
            groups[key_of(kind, 'small sets', protocol)].append(column)
    for column_id, columns in groups.items():
        names = sorted(column.dataset for column in columns)
        if len(set(names)) < 2 or len(set(names)) < len(names):
            continue  # nothing to summarise, or two versions of one set
        first = columns[0]
        made[column_id] = Column(
            column_id,
            first.kind,
            first.kind.header,
            first.unit,
            f'mean of {len(names)} sets',
            f'mean over {", ".join(names)}',
            first.higher_is_better,
        )
        for row in rows:
            cells = [row.cells.get(column.id) for column in columns]
            if None in cells:
                continue
            seeds = [seed for seed in cells[0].by_seed if all(seed in c.by_seed for c in cells)]
            if not seeds:
                continue
            means = {seed: statistics.fmean(c.by_seed[seed] for c in cells) for seed in seeds}
            row.cells[column_id] = Cell(
                statistics.fmean(means.values()),
                statistics.stdev(means.values()) if len(means) > 1 else None,
                len(means),
                len(means) if row.pretraining else 0,
                by_seed=means,
                records=tuple(record for cell in cells for record in cell.records),
                protocol=' '.join(sorted({cell.protocol for cell in cells})),
            )


# ---- published -------------------------------------------------------------------------------


def published_rows(
    published: Sequence[PublishedResult], kinds: Sequence[ColumnKind], made: dict[str, Column]
) -> list[Row]:
    """The rows of published numbers, as printed; the columns that they add go into `made`."""
    rows: dict[str, Row] = {}
    protocols = defaultdict(set)
    for result in published:
        protocols[result.task, result.metric, result.dataset].add(result.protocol)
    for result in published:
        row = rows.setdefault(_published_key(result), _published_row(result))
        if result.note and result.note not in row.notes:
            row.notes += (result.note,)
        for kind in kinds:
            if kind.key == 'time' and (result.task, result.metric) == ('pretrain', 'cost'):
                row.cells['time'] = Cell(result.value, is_delta=True)
            elif metric_shown(kind, result.task, [result.metric]):
                value, unit = in_percent(result.value, result.unit)
                several = len(protocols[result.task, result.metric, result.dataset]) > 1
                column = _published_column(kind, result, unit, several, made)
                cell = Cell(value, is_delta=result.delta, protocol=result.protocol)
                row.cells[column.id] = cell
    return [row for row in rows.values() if row.cells]


def _published_column(
    kind: ColumnKind, result: PublishedResult, unit: str, several: bool, made: dict[str, Column]
) -> Column:
    """The column of a published number: each protocol's own where there are several."""
    data = dataset_name(result.dataset)
    if several:
        column_id = key_of(kind.key, result.dataset, 'published', result.protocol)
        note = f'{AS_PUBLISHED}: {result.protocol}'
        column = Column(column_id, kind, kind.header, unit, data, note, result.higher_is_better)
        return made.setdefault(column_id, column)
    there = (kind.key, data, unit, result.higher_is_better)
    same = [
        c for c in made.values() if (c.kind.key, c.dataset, c.unit, c.higher_is_better) == there
    ]
    # Side by side with the measured one; which of two protocols, nobody could say.
    if len(same) == 1:
        return same[0]
    column_id = key_of(kind.key, result.dataset, 'published')
    column = Column(column_id, kind, kind.header, unit, data, AS_PUBLISHED, result.higher_is_better)
    return made.setdefault(column_id, column)


def _published_key(result: PublishedResult) -> str:
    return key_of(
        *(getattr(result, name) for name in ('source', 'table', 'method', 'variant', 'backbone')),
        result.pretraining,
        result.labels_in_pretraining,
        None if result.pretraining else result.dataset,
    )


def _published_row(result: PublishedResult) -> Row:
    return Row(
        result.method,
        settings_apart(result.method, result.variant),
        result.backbone,
        result.pretraining and {**result.pretraining, 'images_seen': None, 'part': None},
        result.labels_in_pretraining,
        f'{result.source_name}, {result.table}',
        result.url,
    )
