"""A table of run records and published numbers, and what in it may be compared with what.

Ranks and differences are taken within a column among rows of one backbone; measured rows are never
ranked with published ones, nor rows whose pre-training saw labels with those that did not.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from mixae.errors import TableError
from mixae.results.names import COLUMNS
from mixae.results.published import PublishedResult
from mixae.results.record import RunRecord
from mixae.results.rows import check_records, key_of, measured_rows, published_rows
from mixae.results.table import (
    AS_PUBLISHED,
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
            column shows, one metric in two units, a value that a metric cannot have, or two
            records of one id.
    """
    kinds = parse_columns(columns, records, published)
    check_records(records)
    made: dict[str, Column] = {}
    rows = measured_rows(records, kinds, made)
    rows += published_rows(published, kinds, made)
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


def leading_metric(record: Mapping, columns: Iterable[str]) -> str:
    """The metric of a record that the first of these columns shows; its first where none does."""
    kinds = [COLUMNS[name] for name in columns if name in COLUMNS]
    found = (metric_shown(kind, record['task'], record['metrics']) for kind in kinds)
    return next(filter(None, found), next(iter(record['metrics'])))


# ---- comparing -------------------------------------------------------------------------------


def _take_differences(rows: Sequence[Row]) -> None:
    """Give every cell its difference from the plain MAE row that it may be compared with."""
    plain = defaultdict(list)
    for row in rows:
        if row.method == 'mae' and not row.variant and row.pretraining:
            plain[row.source, key_of(row.backbone)].append(row)
    for row in rows:
        base = _baseline(row, plain[row.source, key_of(row.backbone)])
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
                group = key_of(row.source, cell.protocol, row.labels_in_pretraining, row.backbone)
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
