"""A grid of small pictures with labelled rows and columns."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mixae.files import replace_whole

CELL = 1.0  # inches
ENDINGS = ('.png', '.pdf', '.svg')  # of figures


class Cell(NamedTuple):
    """A picture, and the patches (row, column) of ``patch`` pixels to put a white frame around."""

    picture: np.ndarray
    patch: int = 0
    framed: Sequence[tuple[int, int]] = ()


def save_figure(figure: Figure, path: str | Path, **options) -> Path:
    """Write a figure whole or not at all, in the format that its name ends in.

    Args:
        figure (Figure): The figure.
        path (str | Path): One of :data:`ENDINGS`.
        **options: Of matplotlib's ``savefig``.

    Raises:
        OutputError: It cannot be written.
    """
    with replace_whole(path) as draft:
        figure.savefig(draft, **options)
    return Path(path)


def draw_grid(
    rows: Mapping[str, Sequence[Cell | None]],
    columns: Sequence[str],
    title: str,
    caption: str,
    repeat: int = 1,
) -> Figure:
    """Cells in rows by their label; None stays empty.

    Args:
        rows (Mapping[str, Sequence]): ``repeat`` times as many cells each as there are columns.
        columns (Sequence[str]): Labels of a block of columns.
        title (str): Stands above.
        caption (str): Stands below.
        repeat (int): Blocks of columns, with a gap between them. Defaults to 1.
    """
    count = repeat * len(columns)
    gap = 0.25  # of a cell
    widths = ([1.0] * len(columns) + [gap]) * repeat
    widths = widths[:-1]
    width, height = CELL * (count + gap * (repeat - 1)) + 1.05, CELL * len(rows) + 1.35
    figure = Figure(figsize=(width, height), layout=None)
    axes = figure.subplots(
        len(rows),
        len(widths),
        squeeze=False,
        gridspec_kw=dict(
            width_ratios=widths,
            wspace=0.06,
            hspace=0.06,
            left=1.0 / width,
            right=1 - 0.05 / width,
            top=1 - 0.75 / height,
            bottom=0.55 / height,
        ),
    )
    for axis in axes.flat:
        axis.set_axis_off()
    axes = axes[:, [w == 1 for w in widths]]
    for row_axes, (label, cells) in zip(axes, rows.items(), strict=True):
        place = dict(ha='right', va='center', fontsize=9, transform=row_axes[0].transAxes)
        row_axes[0].text(-0.1, 0.5, label, **place)
        for axis, cell in zip(row_axes, cells, strict=True):
            if cell is not None:
                _draw_cell(axis, cell)
    for axis, label in zip(axes[0], [*columns] * repeat, strict=True):
        axis.set_title(label, fontsize=8)
    figure.suptitle(title, fontsize=11, y=1 - 0.08 / height, va='top')
    caption = fill(caption, int(13 * width))
    figure.text(0.5, 0.12 / height, caption, ha='center', va='bottom', fontsize=8)
    return figure


def _draw_cell(axis, cell: Cell) -> None:
    axis.imshow(cell.picture, interpolation='nearest')
    for y, x in cell.framed:
        corner = (x * cell.patch - 0.5, y * cell.patch - 0.5)
        axis.add_patch(Rectangle(corner, cell.patch, cell.patch, fill=False, ec='w', lw=0.7))
