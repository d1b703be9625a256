"""A table for the terminal."""

import io
import textwrap
from collections.abc import Iterable, Sequence
from itertools import accumulate

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mixae.results.render.common import cell_parts, footnotes, label_columns, one_line
from mixae.results.table import Column, Row, Table


def to_text(table: Table, width: int | None = None) -> str:
    """The table for a terminal, without the links.

    What all rows share stands above it; columns that do not fit go into a second table below.

    Args:
        width: characters a line (default: the terminal's).
    """
    out = io.StringIO()
    console = Console(file=out, width=width or Console().width, color_system=None)
    _, lines, shared = label_columns(table)
    # A long variant must leave room for numbers beside it.
    labels = [_terminal('Method'), *(_labels(line, max(30, console.width // 3)) for line in lines)]
    for text in shared:
        console.print(_terminal(text))
    n = table.n
    columns = [_column(column, table.rows, n) for column in table.columns]
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
    for note in footnotes(table):
        console.print(_terminal(f'- {note}'))
    if any(cell.rank for cell in table.cells):
        console.print(_terminal('- *: best; +: second best.'))
    return out.getvalue()


def _labels(texts: Sequence[str], room: int) -> Text:
    """The labels of one row, one below the other, wrapped to `room` characters."""
    told = [text for text in texts if text not in ('', 'none', 'measured')]
    return Text('\n').join(
        _terminal(piece)
        for text in told
        for piece in (textwrap.wrap(text, room) if len(text) > room else [text])
    )


def _column(column: Column, rows: Sequence[Row], n: int | None) -> list[Text]:
    """Header and cells of a column."""
    texts = [Text('\n').join(map(_terminal, textwrap.wrap(column.title, 12)))]
    for row in rows:
        cell = row.cells.get(column.id)
        lines = []
        if cell is not None:
            value, details = cell_parts(cell, column, n)
            mark = '≈ ' if cell.is_tied else ('', '* ', '+ ')[cell.rank]
            lines = filter(None, (mark + value, details))
        texts.append(Text('\n').join(map(_terminal, lines)))
    return texts


def _wide(texts: Iterable[Text]) -> int:
    return max(cell_len(line) for text in texts for line in text.plain.split('\n'))


def _terminal(text: str) -> Text:
    return Text(one_line(text))
