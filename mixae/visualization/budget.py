"""What pre-training is worth: results over images seen and over floating-point operations."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from mixae.errors import TableError
from mixae.files import check_output
from mixae.results.compare import build_table
from mixae.results.correlate import half_interval
from mixae.results.record import RunRecord
from mixae.results.table import Row
from mixae.visualization.grid import ENDINGS, save_figure


def plot_budget(records: Sequence[RunRecord], column: str, path: str | Path) -> Path:
    """Draw a column of the table over what pre-training cost, with a line for each method.

    Points are means over seeds; bars are 95 % intervals (Student's t), where there are at least two
    seeds. A filled point is the end of a schedule, a hollow one a checkpoint from before its end.
    Rows without pre-training are horizontal lines. Costs include those of a distillation teacher.

    Args:
        records: The run records, of any number of columns.
        column (str): A column of the leaderboard, such as 'linear'.
        path (str | Path): The PNG to write.

    Raises:
        TableError: The records fill this column with several data sets or protocols, or none of
            them is of a pre-trained model.
    """
    check_output(path, ENDINGS)
    table = build_table(records, columns=[column, 'images_seen', 'flops'])
    results = [one for one in table.columns if one.kind.key == column]
    if len(results) != 1:
        told = '; '.join(f'{one.dataset}: {one.note}' for one in results)
        raise TableError(
            f'column {column!r}: a curve is of one data set and protocol, not {len(results)} '
            f'({told}). Give the records of one.'
        )
    (result,) = results
    lines, levels = defaultdict(list), []
    for row in (row for row in table.rows if result.id in row.cells):
        if row.pretraining:
            lines[row.name, row.backbone_text].append(row)
        else:
            levels.append(row)
    if not lines:
        raise TableError(f'column {column!r}: no record of a pre-trained model.')
    figure = Figure(figsize=(9, 3.8), dpi=120, layout='constrained')
    colours = matplotlib.colormaps['tab10']
    for ax, cost in zip(figure.subplots(1, 2, sharey=True), ('images_seen', 'flops'), strict=True):
        for i, (name, rows) in enumerate(lines.items()):
            rows = [row for row in rows if cost in row.cells]
            _draw_line(ax, rows, cost, result.id, colours(i % 10), name[0])
        for level, style in zip(levels, ('--', ':'), strict=False):
            mean = level.cells[result.id].mean
            ax.axhline(mean, color='black', ls=style, lw=1.2, label=level.name)
        ax.set(xlabel=dict(images_seen='images seen', flops='FLOPs')[cost], xlim=(0, None))
        ax.grid(alpha=0.25)
        ax.spines[['top', 'right']].set_visible(False)
        if cost == 'images_seen':
            ax.set(ylabel=f'{result.title}, {result.dataset}')
            handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside right upper', frameon=False, fontsize=9)
    return save_figure(figure, path, facecolor='white')


def _draw_line(ax, rows: Sequence[Row], cost: str, column: str, colour, name: str) -> None:
    """The points of one method: those along a schedule are joined, ends of others stand alone."""
    schedules = defaultdict(list)
    for row in rows:
        schedules[(row.pretraining['part'] or '').partition('-of-')[2]].append(row)
    ends = schedules.pop('', [])
    for length, along in schedules.items():
        # The schedule's own end belongs to its line.
        along += [row for row in ends if f'{row.pretraining["epochs"]}e' == length]
        along.sort(key=lambda row: row.cells[cost].mean)
        points = zip(*((r.cells[cost].mean, r.cells[column].mean) for r in along), strict=True)
        ax.plot(*points, color=colour, lw=1.4)
    for row in rows:
        cell = row.cells[column]
        ax.errorbar(
            row.cells[cost].mean,
            cell.mean,
            yerr=half_interval(cell),
            fmt='o',
            ms=5,
            color=colour,
            mfc='white' if row.pretraining['part'] else colour,
            capsize=2,
            label=name if row is rows[-1] else None,
        )
