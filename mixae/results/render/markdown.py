"""A table in Markdown, as GitHub reads it."""

import os
import re
from pathlib import Path
from urllib.parse import quote

from mixae.results.render.common import cell_text, footnotes, label_columns, one_line
from mixae.results.table import Cell, Column, Row, Table


def to_markdown(table: Table, base: str | os.PathLike | None = None) -> str:
    """A Markdown table; below it the records behind each number.

    A row carries one link: to the folder of its records, or to where it was published.

    Args:
        base: the folder the text will lie in; links are relative to it (default: the current one).
    """
    base = Path(base or '.').absolute()
    names, labels, shared = label_columns(table)
    measured = [row for row in table.rows if row.records]
    headers = [*names, *(column.title for column in table.columns)]
    line = '|' + ' --- |' * len(names) + ' ---: |' * len(table.columns)
    if measured:
        headers.append('Records')
        line += ' ---: |'
    lines = ['| ' + ' | '.join(map(escape_markdown, headers)) + ' |', line]
    n = table.n
    for row, texts in zip(table.rows, labels, strict=True):
        texts = [escape_markdown(text) for text in texts]
        texts += [_cell(row.cells.get(column.id), column, n) for column in table.columns]
        if row.url and 'Source' in names:
            at = names.index('Source')
            texts[at] = f'[{texts[at]}](<{_url(row.url)}>)'
        if measured:
            texts.append(_folder(row, base))
        lines.append('| ' + ' | '.join(texts) + ' |')
    notes = [*shared, *footnotes(table)]
    lines += ['', *(f'- {escape_markdown(note)}' for note in notes)]
    if any(cell.rank for cell in table.cells):
        lines.append('- **Bold**: best; *italic*: second best.')
    if measured:
        lines += _records(table, measured, base)
    return '\n'.join(lines) + '\n'


def _cell(cell: Cell | None, column: Column, n: int | None) -> str:
    if cell is None:
        return ''
    text = escape_markdown(cell_text(cell, column, n))
    if cell.is_tied:
        return f'≈ {text}'
    return {0: text, 1: f'**{text}**', 2: f'*{text}*'}[cell.rank]


def _folder(row: Row, base: Path) -> str:
    """How many records stand behind a row, with a link to the folder that holds them."""
    folders = [record.path.absolute().parent for record in row.records if record.path]
    number = str(len(row.records)) if row.records else ''
    return f'[{number}](<{_link(os.path.commonpath(folders), base)}>)' if folders else number


def _records(table: Table, rows: list[Row], base: Path) -> list[str]:
    """The ids of the records behind each cell, a line for every row; each is a link to its file."""
    lines = ['', '<details><summary>Records behind each number</summary>', '']
    paths = {}
    for number, row in enumerate(rows, start=1):
        behind: dict[tuple[str, ...], list[str]] = {}
        for column in table.columns:
            cell = row.cells.get(column.id)
            if cell and not column.kind.is_cost:  # of a cost: the same records as the row's results
                behind.setdefault(cell.records, []).append(escape_markdown(column.header))
                paths |= {record_id: table.records[record_id].path for record_id in cell.records}
        told = (f'{", ".join(names)} [{"] [".join(ids)}]' for ids, names in behind.items())
        lines.append(f'{number}. {escape_markdown(row.name)}: {"; ".join(told)}')
    lines += ['', '</details>', '']
    return lines + [f'[{id_}]: <{_link(path, base)}>' for id_, path in paths.items() if path]


def _link(path: str | os.PathLike, base: Path) -> str:
    return _url(Path(os.path.relpath(path, base)).as_posix())


def _url(text: str) -> str:
    return quote(text, safe="/:?=&#%+,;@!$'()*~._-")


def escape_markdown(text: str) -> str:
    """`text` so that Markdown (in a table too) shows it as it is, on one line."""
    text = one_line(text)
    text = re.sub(r'([\\`*\[\]~|$])', r'\\\1', text)
    text = text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')
    # Only outside a word does _ mean emphasis, only at the start can these open a list or heading.
    text = re.sub(r'(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])', r'\\_', text)
    text = re.sub(r'^([-+#=])(?=[-+#=\s]|$)', r'\\\1', text)
    return re.sub(r'^(\d+)([.)])(?=\s|$)', r'\1\\\2', text)
