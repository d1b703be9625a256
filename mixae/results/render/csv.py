"""A table's numbers in full precision, for programs and spreadsheets."""

import csv
import io
import json

from mixae.results.render.common import one_line
from mixae.results.table import Cell, Table


def to_csv(table: Table) -> str:
    """The numbers in full precision.

    Each metric has six columns: the mean (header and unit), then std, n, delta, rank (1, 2 or
    nothing) and the ids of its records; the records of the whole row stand at its end.
    """
    lines = []
    head = ['method', 'variant', 'backbone', 'pretraining_dataset', 'epochs', 'images_seen']
    head += ['labels_in_pretraining', 'source']
    for column in table.columns:
        if column.kind.is_cost:
            unit = f' ({column.kind.unit})' if column.kind.unit else ''
            head.append(column.header + unit)
        else:
            parts = ('', ' std', ' n', ' delta', ' rank', ' records')
            head += [column.title + part for part in parts]
    lines.append([*head, 'records', 'notes'])
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
            if column.kind.is_cost:
                line.append(_value(cell))
            elif cell is None:
                line += [None] * 6
            else:
                line += [_value(cell), cell.std, cell.n if cell.records else None, cell.delta]
                line += [cell.rank or None, ' '.join(cell.records)]
        ids = ' '.join(record['id'] for record in row.records)
        lines.append([*line, ids, ' '.join(row.notes)])
    out = io.StringIO()
    csv.writer(out).writerows([_safe(value) for value in line] for line in lines)
    return out.getvalue()


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
