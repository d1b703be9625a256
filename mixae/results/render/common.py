"""What every format says in words: labels of rows, cells, and the notes below a table."""

from collections import defaultdict
from collections.abc import Iterator

from mixae.errors import visible
from mixae.results.table import Cell, Column, Row, Table

LABELS = ('Method', 'Variant', 'Backbone', 'Pre-training', 'Source')


def one_line(text: str) -> str:
    """`text` without line breaks and runs of blanks, and with nothing in it that is not seen."""
    return visible(' '.join(text.split()))


def all_visible(value):
    """`value`, plain JSON, with nothing in its texts that is not seen."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(key): all_visible(item) for key, item in value.items()}
    return [all_visible(item) for item in value] if isinstance(value, list) else value


def row_labels(row: Row) -> tuple[str, ...]:
    """The texts of a row's first columns, in the order of `LABELS`; unescaped."""
    mark = {True: ' †', None: ' ‡'}.get(row.labels_in_pretraining, '')
    return (
        row.method_text + mark,
        row.variant_text,
        row.backbone_text,
        row.pretraining_text,
        row.source_text,
    )


def label_columns(table: Table) -> tuple[list[str], list[list[str]], list[str]]:
    """The label columns that tell rows apart: names, texts by row, and what all rows share.

    That nothing is pre-trained goes without saying for a random encoder and from scratch, as does
    that all rows were measured.
    """
    lines = [row_labels(row) for row in table.rows]
    kept, shared = [0], []
    for index in range(1, len(LABELS)):
        texts = {
            line[index]
            for line, row in zip(lines, table.rows, strict=True)
            if LABELS[index] != 'Pre-training' or row.method not in ('random', 'scratch')
        }
        if len(texts) > 1 or (LABELS[index] == 'Variant' and texts != {''}):
            kept.append(index)
        elif texts - {'', 'none', 'measured'}:
            shared.append(f'{LABELS[index]}: {texts.pop()}')
    names = [LABELS[index] for index in kept]
    return names, [[line[index] for index in kept] for line in lines], shared


def cell_parts(cell: Cell, column: Column, n: int | None = None) -> tuple[str, str]:
    """A cell as people read it, in two parts: mean ± std; runs and difference from MAE.

    Args:
        n: the table's number of runs, which a note tells: it is left out here.
    """
    if column.kind.is_cost:
        text = f'{cell.mean:+g} % vs MAE' if cell.is_delta else cost_text(column.id, cell.mean)
        return text, ''
    if cell.is_delta:
        return f'{cell.mean:+.{column.digits}f} vs MAE', ''
    text = f'{cell.mean:.{column.digits}f}'
    if cell.std is not None:
        text += f' ± {cell.std:.{column.digits}f}'
    details = []
    if cell.records and cell.n != n:
        details.append(f'n={cell.n}')
    if 0 < cell.pretrainings < cell.n:
        plural = 's' if cell.pretrainings > 1 else ''
        details.append(f'{cell.pretrainings} pre-training{plural}')
    if cell.delta is not None:
        half = '' if cell.delta_half is None else f' ± {cell.delta_half:.{column.digits}f}'
        over = f' over {cell.delta_pairs}' if 0 < cell.delta_pairs < len(cell.by_seed) else ''
        details.append(f'Δ {cell.delta:+.{column.digits}f}{half}{over}')
    return text, ', '.join(details)


def cell_text(cell: Cell, column: Column, n: int | None = None) -> str:
    """Both parts of `cell_parts` on one line."""
    value, details = cell_parts(cell, column, n)
    return f'{value} ({details})' if details else value


def cost_text(key: str, value: float) -> str:
    """A cost with a unit that suits its size. `value`: seconds, device hours, images or FLOPs."""
    if key == 'time':
        for size, unit in ((3600, 'h'), (60, 'min')):
            if value >= size:
                return f'{value / size:,.1f} {unit}'
        return f'{value:.1f} s'
    if key == 'device_hours':
        return f'{value:,.1f} h' if value >= 10 else f'{value:.2g} h'
    if key == 'images_seen':
        return f'{value:,.0f}'
    return f'{value:.2e}'


def footnotes(table: Table) -> list[str]:
    """What a reader must know of the table, one sentence or two a note."""
    own = (*_notes_on_cells(table), *_notes_on_costs(table), *_notes_on_sources(table))
    return [*own, *table.notes]


def _notes_on_cells(table: Table) -> Iterator[str]:
    cells = table.cells
    if any(cell.n > 1 for cell in cells):
        n = table.n
        every = '' if n is None else f', n = {n} in every cell'
        yield (
            'Mean ± sample standard deviation (n - 1 in the denominator) over n runs of different '
            f'seeds{every}; where they share pre-training runs, the number of those is given.'
        )
    if any(cell.rank or cell.is_tied for cell in cells):
        yield (
            'Ranked are measured rows of one backbone and protocol with several seeds, apart from '
            'those whose pre-training saw labels: best or second best is what the 95 % interval of '
            "the paired difference (Student's t over seeds) tells from every row below. ≈: not "
            'separable; the interval holds zero.'
        )
    yield from table.undecided
    if any(cell.delta is not None for cell in cells):
        paired = any(cell.delta_half is not None for cell in cells)
        fewer = any(0 < cell.delta_pairs < len(cell.by_seed) for cell in cells)
        yield (
            'Δ: difference from the MAE row of the same source, protocol, backbone, pre-training '
            'data and images seen (or, where no MAE row has seen as many, epochs)'
            + ('; ± half of its 95 % interval over paired seeds.' if paired else '.')
            + (' Over k: k seeds, those that both rows have.' if fewer else '')
        )
    headers = {column.id: column.header for column in table.columns}
    for row in table.rows:
        for column_id, runs in row.undefined.items():
            header = headers.get(column_id, 'a column left out')
            yield f'{header} of {row.name}: undefined in {runs} runs, which the mean leaves out.'
    if any(cell.is_delta for cell in cells):
        yield '"vs MAE": the source gives the difference from its MAE, not the level.'
    if any(row.labels_in_pretraining for row in table.rows):
        yield '†: labels were used in pre-training.'
    if any(row.labels_in_pretraining is None for row in table.rows):
        yield '‡: it is not known whether labels were used in pre-training; ranked apart.'


def _notes_on_costs(table: Table) -> Iterator[str]:
    records = [record for row in table.rows for record in row.records]
    if any(column.kind.is_cost for column in table.columns):
        runs = [record['pretraining'] for record in records if record['pretraining']]
        runs += [run['teacher'] for run in runs if run['teacher']]
        devices = {f'{run["device_count"]} × {run["device"]}' for run in runs if run['device']}
        where = f' Pre-trained on: {"; ".join(sorted(devices))}.' if devices else ''
        yield (
            "Pre-training cost includes the distillation teacher's; of a mixture every image "
            'counts as seen.' + where
        )
    budgets = sorted({record['budget'] for record in records if record['budget']})
    if budgets:
        yield f'Budget: {"; ".join(budgets)}.'


def _notes_on_sources(table: Table) -> Iterator[str]:
    """Protocols of columns, and what sources say of their rows; what several share is said once."""
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for column in table.columns:
        if column.note and column.note not in column.header:
            data = f' on {column.dataset}' if column.dataset not in column.header else ''
            alike[column.note, data].append(column.header)
    for (note, data), names in alike.items():
        yield f'{", ".join(names)}{data}: {note}.'
    told: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in table.rows:
        for note in row.notes:
            note = one_line(note).rstrip('.')
            told[row.source, note].append(row.name)
    for (source, note), names in told.items():
        place = f'{source}, {names[0]}' if len(set(names)) == 1 else source
        yield f'{place}: {note}.'
