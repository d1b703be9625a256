"""A metric against a swept setting, and against another metric, from run records."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from mixae.errors import TableError
from mixae.files import check_output
from mixae.results.compare import build_table
from mixae.results.correlate import (
    RankCorrelation,
    half_interval,
    only_column,
    pair_columns,
    rank_correlation,
)
from mixae.results.names import METHODS, method_name
from mixae.results.record import RunRecord
from mixae.results.table import settings_text
from mixae.visualization.grid import ENDINGS, save_figure


def sweep_lines(records: Sequence[RunRecord], setting: str, column: str) -> tuple:
    """What :func:`plot_sweep` draws.

    Returns:
        tuple: The column; by line (its other settings in words) the points (value, cell); other
        rows as (name, cell). Values of ``mix_ratio`` and such are numbers or words.

    Raises:
        TableError: No row has another value of the setting than the default, or several data sets
            or protocols.
    """
    table = build_table(records, columns=[column])
    result = only_column(table, column)
    swept = {row.method for row in table.rows if setting in row.variant}
    if not swept:
        there = sorted({name for row in table.rows for name in row.variant})
        raise TableError(
            f'setting {setting!r} is the same in all rows; those that differ: '
            f'{", ".join(there) or "none"}.'
        )
    several = len({row.pretraining_text for row in table.rows if row.method in swept}) > 1
    lines, levels = defaultdict(list), []
    for row in (row for row in table.rows if result.id in row.cells):
        if row.method not in swept:
            levels.append((row.name, row.cells[result.id]))
            continue
        others = {k: v for k, v in row.variant.items() if k != setting}
        default = METHODS[row.method].defaults.get(setting) if row.method in METHODS else None
        value = _number(row.variant.get(setting, default))
        name = f'{method_name(row.method)} {settings_text(others)}'.rstrip()
        name += f', {row.pretraining_text}' if several else ''
        lines[name].append((value, row.cells[result.id]))
    # Words beside numbers, such as 'auto', have no place on the axis.
    for name, points in lines.items():
        if any(isinstance(value, float) for value, _ in points):
            levels += [(f'{name}, {setting}={v}', c) for v, c in points if isinstance(v, str)]
            lines[name] = [point for point in points if isinstance(point[0], float)]
    # A row that differs in something else as well is no part of the sweep.
    lines = {name: points for name, points in lines.items() if len(points) > 1}
    if not lines:
        raise TableError(
            f'setting {setting!r}: no two rows differ in it alone; give the records of one sweep.'
        )
    return result, {name: sorted(points, key=_order) for name, points in lines.items()}, levels


def plot_sweep(
    records: Sequence[RunRecord], setting: str, column: str, path: str | Path
) -> list[str]:
    """Draw a column of the table over a setting, with 95 % intervals over seeds.

    Rows of other methods, such as MAE, are levels. Rows whose other settings differ are other
    lines.

    Returns:
        list[str]: The rows of a Markdown table of what is drawn.

    Raises:
        TableError: See :func:`sweep_lines`.
    """
    check_output(path, ENDINGS)
    result, lines, levels = sweep_lines(records, setting, column)
    figure = Figure(figsize=(6.4, 4), dpi=120, layout='constrained')
    ax = figure.add_subplot()
    colours = matplotlib.colormaps['tab10']
    ticks = sorted({value for points in lines.values() for value, _ in points}, key=_key)
    words = any(isinstance(value, str) for value in ticks)
    for i, (name, points) in enumerate(lines.items()):
        ax.errorbar(
            [ticks.index(value) if words else value for value, _ in points],
            [cell.mean for _, cell in points],
            yerr=[half_interval(cell.by_seed) or 0.0 for _, cell in points],
            fmt='o-',
            capsize=3,
            color=colours(i % 10),
            label=name,
        )
    for i, (name, cell) in enumerate(levels):
        ax.axhline(cell.mean, color='black', ls=('--', ':', '-.')[i % 3], lw=1.2, label=name)
        if half := half_interval(cell.by_seed):
            ax.axhspan(cell.mean - half, cell.mean + half, color='black', alpha=0.06, lw=0)
    if words:
        ax.set_xticks(range(len(ticks)), [str(tick) for tick in ticks])
    ax.set(xlabel=setting, ylabel=f'{result.title}, {result.dataset}')
    ax.grid(alpha=0.25)
    ax.spines[['top', 'right']].set_visible(False)
    figure.legend(loc='outside lower center', frameon=False, fontsize=8)
    save_figure(figure, path, facecolor='white')
    return _table(setting, result, lines, levels)


def _table(setting: str, result, lines: dict, levels: list) -> list[str]:
    def shown(cell) -> str:
        half = half_interval(cell.by_seed)
        spread = f' ± {half:.2f}' if half is not None else ''
        return f'{cell.mean:.2f}{spread} | {len(cell.by_seed)}'

    rows = [f'| Row | {setting} | {result.title} | seeds |', '|---|---:|---:|---:|']
    for name, points in lines.items():
        rows += [f'| {name} | {value} | {shown(cell)} |' for value, cell in points]
    return rows + [f'| {name} | | {shown(cell)} |' for name, cell in levels]


def plot_rows(records: Sequence[RunRecord], column: str, path: str | Path) -> list[str]:
    """Draw a column of the table, a line of its own for each row, with 95 % intervals over seeds.

    Returns:
        list[str]: The rows of a Markdown table of what is drawn.

    Raises:
        TableError: Several data sets or protocols, or none.
    """
    check_output(path, ENDINGS)
    table = build_table(records, columns=[column])
    result = only_column(table, column)
    rows = [(row.name, row.cells[result.id]) for row in table.rows if result.id in row.cells]
    figure = Figure(figsize=(7.5, 0.35 * len(rows) + 1.3), dpi=120, layout='constrained')
    ax = figure.add_subplot()
    for place, (_, cell) in enumerate(rows):
        half = half_interval(cell.by_seed)
        ax.plot(list(cell.by_seed.values()), [place] * len(cell.by_seed), '.', color='0.6', ms=6)
        ax.errorbar(cell.mean, place, xerr=half, fmt='o', capsize=3, color='C0')
    ax.set_yticks(range(len(rows)), [name for name, _ in rows])
    ax.invert_yaxis()
    ax.set(xlabel=f'{result.title}, {result.dataset}')
    ax.grid(axis='x', alpha=0.25)
    ax.spines[['top', 'right']].set_visible(False)
    save_figure(figure, path, facecolor='white')
    return _table('', result, {}, rows)


def plot_rank_correlation(
    records: Sequence[RunRecord], x: str, y: str, path: str | Path
) -> RankCorrelation:
    """Draw one column against another, a point for each run, and tell their rank correlation.

    Raises:
        TableError: Too few runs have both, or one of several data sets or protocols.
    """
    check_output(path, ENDINGS)
    pairs = pair_columns(records, x, y)
    found = rank_correlation(pairs.all)
    figure = Figure(figsize=(6.4, 4.2), dpi=120, layout='constrained')
    ax = figure.add_subplot()
    colours = matplotlib.colormaps['tab20']
    for i, (name, points) in enumerate(pairs.points.items()):
        if points:
            ax.scatter(*zip(*points, strict=True), color=colours(i % 20), s=26, label=name)
    ax.set(
        xlabel=pairs.titles[0],
        ylabel=pairs.titles[1],
        title=f'Spearman {found.rho:.2f} [{found.low:.2f}, {found.high:.2f}], {found.runs} runs',
    )
    ax.grid(alpha=0.25)
    ax.spines[['top', 'right']].set_visible(False)
    figure.legend(loc='outside lower center', frameon=False, fontsize=8)
    save_figure(figure, path, facecolor='white')
    return found


def _number(value):
    """Settings such as 'subordinate=0.3' go by their number."""
    if isinstance(value, str) and value.startswith('subordinate='):
        value = value.partition('=')[2]
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def _key(value) -> tuple:
    return (isinstance(value, str), value)


def _order(point: tuple) -> tuple:
    return _key(point[0])
