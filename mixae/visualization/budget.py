"""What pre-training is worth: results over images seen and over floating-point operations."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import matplotlib
from matplotlib.figure import Figure

from mixae.errors import TableError
from mixae.files import check_output
from mixae.results.compare import build_table
from mixae.results.correlate import half_interval
from mixae.results.names import dataset_name
from mixae.results.record import RunRecord
from mixae.results.table import Row
from mixae.visualization.grid import ENDINGS, save_figure


def plot_budget(records: Sequence[RunRecord], column: str, path: str | Path) -> Path:
    """Draw a column of the table over what pre-training cost, with a line for each method.

    Points are means over seeds, along one schedule over the seeds that all its points have. Bars
    are 95 % intervals (Student's t), where there are at least two seeds. A filled point is the end
    of a schedule, a hollow one a checkpoint from before its end. Rows without pre-training are
    horizontal lines. Costs include those of a distillation teacher.

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
            data = dataset_name(row.pretraining['dataset'])
            lines[row.name, row.backbone_text, data, row.labels_text].append(row)
        else:
            levels.append(row)
    if not lines:
        raise TableError(f'column {column!r}: no record of a pre-trained model.')
    # A line's name holds what tells it from the others, beside the method.
    told = [i for i, parts in enumerate(zip(*lines, strict=True)) if i == 0 or len(set(parts)) > 1]
    several = len({row.backbone_text for row in table.rows}) > 1
    figure = Figure(figsize=(9, 3.8), dpi=120, layout='constrained')
    colours = matplotlib.colormaps['tab10']
    for ax, cost in zip(figure.subplots(1, 2, sharey=True), ('images_seen', 'flops'), strict=True):
        for i, (key, rows) in enumerate(lines.items()):
            name = ', '.join(key[j] for j in told)
            rows = [row for row in rows if cost in row.cells]
            _draw_line(ax, rows, cost, result.id, colours(i % 10), name)
        for i, level in enumerate(levels):
            name = f'{level.name}, {level.backbone_text}' if several else level.name
            mean = level.cells[result.id].mean
            ax.axhline(mean, color='black', ls=('--', ':', '-.')[i % 3], lw=1.2, label=name)
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
    schedules |= {id(row): [row] for row in ends if not any(row in a for a in schedules.values())}
    for along in schedules.values():
        along.sort(key=lambda row: row.cells[cost].mean)
        results = [row.cells[column].by_seed for row in along]
        # Other runs at one end than at the other would bend the line.
        shared = set.intersection(*map(set, results))
        if shared:
            results = [{seed: by_seed[seed] for seed in shared} for by_seed in results]
        costs = [row.cells[cost].mean for row in along]
        means = [fmean(by_seed.values()) for by_seed in results]
        if shared and len(along) > 1:
            ax.plot(costs, means, color=colour, lw=1.4)
        for row, x, y, by_seed in zip(along, costs, means, results, strict=True):
            ax.errorbar(
                x,
                y,
                yerr=half_interval(by_seed),
                fmt='o',
                ms=5,
                color=colour,
                mfc='white' if row.pretraining['part'] else colour,
                capsize=2,
                label=name if row is rows[-1] else None,
            )
