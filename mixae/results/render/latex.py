"""A table for a paper."""

from mixae.results.render.common import cell_text, footnotes, label_columns, one_line
from mixae.results.table import Cell, Column, Table

_ESCAPED = {
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
    '≈': r'$\approx$',
    '×': r'$\times$',
    '†': r'$\dagger$',
}


def to_latex(table: Table) -> str:
    r"""A LaTeX table for the package `booktabs`; the records of each row stand in a comment.

    Best is bold, second best underlined; the footnotes follow in `\footnotesize`.
    """
    names, labels, shared = label_columns(table)
    headers = [*names, *(column.title for column in table.columns)]
    lines = [
        r'% \usepackage{booktabs}',
        rf'\begin{{tabular}}{{{"l" * len(names)}{"r" * len(table.columns)}}}',
        r'\toprule',
        ' & '.join(map(escape_latex, headers)) + r' \\',
        r'\midrule',
    ]
    n = table.n
    for index, (row, texts) in enumerate(zip(table.rows, labels, strict=True)):
        if index and row.source and not table.rows[index - 1].source:
            lines.append(r'\midrule')
        cells = [_cell(row.cells.get(column.id), column, n) for column in table.columns]
        lines.append(' & '.join([*map(escape_latex, texts), *cells]) + r' \\')
        if row.records:
            lines.append('% records: ' + ' '.join(record['id'] for record in row.records))
    lines += [r'\bottomrule', r'\end{tabular}', '', r'{\footnotesize']
    lines += [escape_latex(note) + r'\\' for note in [*shared, *footnotes(table)]]
    return '\n'.join([*lines, '}']) + '\n'


def _cell(cell: Cell | None, column: Column, n: int | None) -> str:
    if cell is None:
        return '--'
    text = escape_latex(cell_text(cell, column, n))
    if cell.is_tied:
        return rf'$\approx$ {text}'
    return {0: text, 1: rf'\textbf{{{text}}}', 2: rf'\underline{{{text}}}'}[cell.rank]


def escape_latex(text: str) -> str:
    """`text` so that LaTeX shows it as it is, on one line."""
    return ''.join(_ESCAPED.get(character, character) for character in one_line(text))
