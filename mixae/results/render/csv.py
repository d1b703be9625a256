"""A table's numbers in full precision, for programs and spreadsheets."""

import csv
import io
import json

from mixae.results.render.common import one_line
from mixae.results.table import Cell, Table

_PARTS = ('std', 'n', 'pre-trainings', 'delta', 'delta low', 'delta high', 'delta seeds', 'rank')
_PARTS += ('seeds needed', 'protocol', 'records')


def to_csv(table: Table) -> str:
    """The numbers in full precision.

    Each metric has the mean (header and unit) and the columns of `_PARTS`: the difference from MAE
    with the ends of its 95 % interval and the seeds behind it, rank (1, 2, 'not separable' or
    nothing), the seeds that would tell the row from the highest, the protocol, and the ids of its
    records. The records of the whole row stand at its end.
    """
    lines = []
    head = ['method', 'variant', 'backbone', 'pretraining_dataset', 'epochs', 'part']
    head += ['images_seen', 'labels_in_pretraining', 'source']
    for column in table.columns:
        if column.kind.is_cost:
            unit = f' ({column.kind.unit})' if column.kind.unit else ''
            head.append(column.header + unit)
        else:
            head += [column.title, *(f'{column.title} {part}' for part in _PARTS)]
    lines.append([*head, 'records', 'notes'])
    for row in table.rows:
        pretraining = row.pretraining or {}
        line = [
            row.method,
            json.dumps(row.variant, sort_keys=True, ensure_ascii=False),
            row.backbone_text,
            *(pretraining.get(name) for name in ('dataset', 'epochs', 'part', 'images_seen')),
            row.labels_text,
            row.source_text,
        ]
        for column in table.columns:
            cell = row.cells.get(column.id)
            if column.kind.is_cost:
                line.append(_value(cell))
            else:
                line += [_value(cell), *_parts(cell)]
        ids = ' '.join(record['id'] for record in row.records)
        lines.append([*line, ids, ' '.join(row.notes)])
    out = io.StringIO()
    csv.writer(out).writerows([_safe(value) for value in line] for line in lines)
    return out.getvalue()


def _parts(cell: Cell | None) -> list:
    if cell is None:
        return [None] * len(_PARTS)
    half = cell.delta_half
    ends = [None, None] if half is None else [cell.delta - half, cell.delta + half]
    rank = 'not separable' if cell.is_tied else cell.rank or None
    n = cell.n if cell.records else None
    told = [cell.std, n, cell.pretrainings or None, cell.delta, *ends, cell.delta_pairs or None]
    return [*told, rank, cell.seeds_needed, cell.protocol, ' '.join(cell.records)]


def _value(cell: Cell | None) -> float | str | None:
    if cell is None:
        return None
    return f'vs MAE: {cell.mean:+g}' if cell.is_delta else cell.mean


def _safe(value):
    """A text that a spreadsheet would take for a formula becomes one that it shows; numbers stay.

    The apostrophe is what spreadsheets themselves put before a text.
    """
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text[:1] in tuple('=+-@＝＋－＠') else text
