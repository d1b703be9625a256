"""A table of run records and published numbers, and what in it may be compared with what.

Ranks and differences are taken within a column among rows of one backbone; measured rows are never
ranked with published ones, nor rows whose pre-training saw labels with those that did not.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from mixae.errors import TableError
from mixae.results.names import COLUMNS
from mixae.results.paired import MOST_SEEDS, Difference, paired_difference
from mixae.results.published import PublishedResult
from mixae.results.record import RunRecord
from mixae.results.rows import add_means, check_records, key_of, measured_rows, published_rows
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
            column shows, one metric in two units, a value that a metric cannot have, or two
            records of one id.
    """
    kinds = parse_columns(columns, records, published)
    check_records(records)
    made: dict[str, Column] = {}
    rows = measured_rows(records, kinds, made)
    add_means(rows, made)
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
            key=lambda c: (order[c.kind.key], c.dataset, c.note.startswith(AS_PUBLISHED), c.id),
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
    filled = {column.kind.key for column in table.columns}
    empty = [kind.header for kind in kinds if kind.key not in filled]
    if empty and list(columns) != list(COLUMNS):
        table.notes.append(f'No record fills: {", ".join(empty)}.')
    table.notes += filter(None, map(_recipes, rows))
    _name_columns(table.columns)
    _take_differences(table.rows)
    _rank(table)
    return table


def _recipes(row: Row) -> str:
    """What is to be said of a row whose runs are no repeats of each other; '' where they are."""
    blocks = [record['pretraining'] for record in row.records if record['pretraining']]
    recipes = {block.get('recipe_sha256') for block in blocks} - {None}
    if len(recipes) < 2:
        return ''
    return (
        f'{row.name}, {row.pretraining_text}: its pre-trainings differ in more than the seed '
        f'({len(recipes)} recipes). Name what differs in their variant, such as '
        'variant.rate=base_lr, to see them apart.'
    )


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
                if not row.source:
                    _take_paired(cell, other)
                else:
                    cell.delta = cell.mean - other.mean


def _take_paired(cell: Cell, other: Cell) -> None:
    """The difference over the seeds that two rows share; none where they share none."""
    difference = paired_difference(cell.by_seed, other.by_seed)
    if difference:
        cell.delta, cell.delta_pairs = difference.mean, difference.pairs
        cell.delta_half = difference.half if difference.spread else None


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
        for name in ('dataset', 'part'):
            maes = [o for o in maes if o.pretraining[name] == row.pretraining[name]]
        for name in ('images_seen', 'epochs'):
            same = [o for o in maes if o.pretraining[name] == row.pretraining[name] is not None]
            if same:
                maes = same
                break
        else:
            maes = maes if all(o.pretraining['epochs'] is None for o in [row, *maes]) else []
    return maes[0] if len(maes) == 1 else None


def _rank(table: Table) -> None:
    """Mark the best and the second best of each column where they are separable from all below.

    Rows that are equal in truth are ranked in at most one column of twenty: the best is compared
    with every other, at 95 % each, and the second best is looked for only below a best one.
    """
    measured = [row for row in table.rows if not row.source]
    backbones = {row.backbone_text for row in measured}
    seeds = 1
    for column in table.columns:
        groups = defaultdict(list)
        for row in measured:
            cell = row.cells.get(column.id)
            if cell and column.kind.is_result:
                group = key_of(cell.protocol, row.labels_in_pretraining, row.backbone)
                groups[group].append((row, cell))
                seeds = max(seeds, len(cell.by_seed))
        for members in groups.values():
            members.sort(key=lambda member: member[1].mean, reverse=column.higher_is_better)
            # A single seed below the highest row says nothing, and keeps nobody from a rank.
            rest = [member for member in members[1:] if len(member[1].by_seed) > 1]
            members = [members[0], *rest] if rest else members
            for place in range(1, min(3, len(members))):
                why_not = _rank_first(members[place - 1 :], place, column)
                if why_not and place == 1:
                    where = f' of {members[0][0].backbone_text}' if len(backbones) > 1 else ''
                    table.undecided.append(f'{column.header}{where}: {why_not}.')
                if why_not:
                    break
    if table.undecided and seeds == 1:
        table.undecided = ['One seed: nothing is ranked, as nothing is known of the scatter.']


def _rank_first(members: Sequence[tuple[Row, Cell]], place: int, column: Column) -> str:
    """Give the first of these rows, best mean first, its rank; or say why it has none."""
    (row, cell), *rivals = members
    sign = 1 if column.higher_is_better else -1
    tied = []
    for other_row, other in rivals:
        difference = paired_difference(cell.by_seed, other.by_seed)
        if difference is None or difference.pairs < 2:
            return f'not ranked, as {row.name} and {other_row.name} share fewer than two seeds'
        if sign * difference.mean < -difference.half:
            return f'not ranked, as {other_row.name} is better than {row.name} in the seeds of both'
        as_printed = round(cell.mean, column.digits) == round(other.mean, column.digits)
        if as_printed or sign * difference.mean <= difference.half:
            tied.append((other_row, other, difference))
    if not tied:
        cell.rank = place
        return ''
    if place == 1:
        cell.is_tied = True
        for _, other, difference in tied:
            other.is_tied, other.seeds_needed = True, difference.seeds_needed
    (other_row, _, closest), more = tied[0], len(tied) - 1
    names = f'{row.name} and {other_row.name}' + (f' (and {more} more)' if more else '')
    return f'{names} are not separable: {_in_words(closest, column.digits)}'


def _in_words(difference: Difference, digits: int) -> str:
    mean, pairs = f'{difference.mean:+.{digits}f}', difference.pairs
    if not difference.spread:
        return f'{mean} in each of {pairs} seeds tells nothing of the scatter'
    if abs(difference.mean) > difference.half:
        return 'they differ by less than is printed'
    low, high = (difference.mean + sign * difference.half for sign in (-1, 1))
    needed = difference.seeds_needed
    needed = f'about {needed}' if needed else f'more than {MOST_SEEDS:,}'
    interval = f'[{low:+.{digits}f}, {high:+.{digits}f}]'
    return f'{mean} {interval} over {pairs} seeds; {needed} seeds would settle it'


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
                published = column.note.startswith(AS_PUBLISHED)
                told = column.note.removeprefix(f'{AS_PUBLISHED}: ')
                column.header = f'{header}, {told if published else f"protocol {number}"}'
