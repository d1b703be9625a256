"""The page's charts: matplotlib's SVG, in colours for a light and for a dark ground."""

import base64
import io
import json
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mixae.results.names import dataset_name, method_name, settings_apart
from mixae.results.record import RunRecord
from mixae.results.render.common import one_line
from mixae.results.table import Column, Row, Table, settings_text

# Each colour on a light ground, and what stands for it on a dark one.
INK, SOFT, LINE = ('#1c1d1f', '#e8e8e6'), ('#5a5e66', '#a5a9b1'), ('#d9d9d4', '#383c42')
SERIES = (
    ('#0072b2', '#62b5ee'),
    ('#c2510a', '#f5935a'),
    ('#00805f', '#4fc7a2'),
    ('#a8407f', '#e58cc4'),
    ('#7a6a00', '#d8c24a'),
    ('#505a66', '#aab4c0'),
)
MARKERS = 'osD^vP'
MOST = 12  # series in a chart: more cannot be told apart
MOST_CURVES = 24  # charts of curves on a page


@dataclass(frozen=True)
class Chart:
    """A picture with its caption; `light` and `dark` are data URIs."""

    caption: str
    light: str
    dark: str


def cost_charts(table: Table) -> list[Chart]:
    """Every result against the images and the FLOPs of the pre-training, as far as they are known.

    Rows of one method, variant, backbone and data of pre-training are one series, joined by a line.
    """
    costs = [c for c in table.columns if c.kind.key in ('images_seen', 'flops')]
    costs = costs or [c for c in table.columns if c.kind.is_cost]
    charts = []
    for column in table.columns:
        for cost in costs if column.kind.is_result else ():
            series, left_out = _series(table.rows, column, cost)
            if series:
                charts.append(_cost_chart(series, column, cost, left_out))
    return charts


def _series(rows: Sequence[Row], column: Column, cost: Column) -> tuple[dict[str, list], bool]:
    """Points (cost, mean, standard deviation) by the name of their series.

    Where the series would be too many there is one for each method, of the rows that no cheaper row
    of it beats.

    Returns:
        The series, and whether rows were left out.
    """
    rows = [
        row
        for row in rows
        if {column.id, cost.id} <= row.cells.keys()
        and not (row.cells[column.id].is_delta or row.cells[cost.id].is_delta)
    ]
    several = len({row.backbone_text for row in rows}) > 1
    data = len({row.pretraining['dataset'] for row in rows if row.pretraining}) > 1
    series, methods = defaultdict(list), defaultdict(list)
    for row in rows:
        cell = row.cells[column.id]
        point = (row.cells[cost.id].mean, cell.mean, cell.std or 0.0)
        name = [row.method_text, row.variant_text, row.backbone_text if several else '']
        name += [dataset_name(row.pretraining['dataset'])] if data and row.pretraining else []
        series[one_line(', '.join(filter(None, name)))].append(point)
        methods[one_line(row.method_text)].append(point)
    if len(series) <= MOST:
        return {name: sorted(points) for name, points in series.items()}, False
    sign = 1 if column.higher_is_better else -1
    fronts = {}
    for name, points in list(methods.items())[:MOST]:
        fronts[name] = []
        for point in sorted(points, key=lambda point: (point[0], -sign * point[1])):
            if not fronts[name] or sign * (point[1] - fronts[name][-1][1]) > 0:
                fronts[name].append(point)
    return fronts, True


def _cost_chart(series: dict[str, list], column: Column, cost: Column, left_out: bool) -> Chart:
    def draw(axes):
        for index, (name, points) in enumerate(series.items()):
            x, y, spread = zip(*points, strict=True)
            style = dict(color=SERIES[index % 6][0], linestyle=('-', '--')[index // 6])
            axes.errorbar(x, y, spread, label=_short(name), marker=MARKERS[index % 6], **style)
        axes.set_xlabel(cost.title)
        axes.set_ylabel(one_line(column.title))
        axes.set_xlim(0, 1.06 * max(x for points in series.values() for x, _, _ in points) or 1)
        if cost.kind.key == 'images_seen':
            axes.xaxis.set_major_formatter('{x:,.0f}')

    better = 'Higher' if column.higher_is_better else 'Lower'
    caption = f'{column.title} against {cost.header}. {better} and further left is better.'
    if left_out:
        caption += ' Of each method, the rows that no cheaper row of it beats.'
    return _draw(draw, caption, len(series))


def curve_charts(records: Sequence[RunRecord]) -> tuple[list[Chart], int]:
    """What was watched while training: a chart for each row and curve, its seeds over each other.

    Returns:
        At most `MOST_CURVES` charts, and how many there are in all.
    """
    runs: dict[tuple[str, str], dict[str, dict]] = defaultdict(dict)
    for record in records:
        settings = settings_text(settings_apart(record['method'], record['variant']))
        row = ', '.join(filter(None, (method_name(record['method']), settings)))
        for name, curve in record.get('curves', {}).items():
            # The records of all evaluations of one pre-training carry the same.
            if any(value is not None for line in curve['lines'].values() for value in line):
                runs[row, name].setdefault(json.dumps(curve), curve)
    charts = [
        _curve_chart(f'{name.replace("_", " ")}: {row}', list(curves.values()))
        for (row, name), curves in list(runs.items())[:MOST_CURVES]
    ]
    return charts, len(runs)


def _curve_chart(caption: str, curves: Sequence[dict]) -> Chart:
    names = list(dict.fromkeys(name for curve in curves for name in curve['lines']))[:MOST]

    def draw(axes):
        for curve in curves:
            for index, name in enumerate(names):
                line = [float('nan') if y is None else y for y in curve['lines'].get(name, ())]
                axes.plot(
                    curve['x'][: len(line)],
                    line,
                    label=_short(name) if curve is curves[0] else None,
                    color=SERIES[index % 6][0],
                    linestyle=('-', '--')[index // 6],
                    marker='.' if len(line) < 3 else None,
                )
        level = curves[0].get('reference')
        if level is not None:
            label = f'{curves[0].get("reference_label", "reference")} ({level:.3g})'
            axes.axhline(level, color=INK[0], linestyle=':', label=_short(label))
        axes.set_xlabel(one_line(curves[0]['x_label']))
        axes.set_ylabel(one_line(curves[0]['y_label']))

    plural = f' ({len(curves)} runs)' if len(curves) > 1 else ''
    return _draw(draw, f'{caption}{plural}', len(names) + 1)


def _short(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= 48 else f'{text[:47]}…'


def _draw(draw: Callable, caption: str, entries: int) -> Chart:
    """The chart that `draw` puts on a pair of axes; `entries` of its legend stand below it."""
    import matplotlib  # here: tables are built and written without it
    from matplotlib.figure import Figure

    style = {
        'font.size': 9,
        'font.sans-serif': 'DejaVu Sans',
        'text.parse_math': False,
        'svg.fonttype': 'none',  # text stays text: the page is small, and every script is shown
        'svg.hashsalt': 'mixae',
        'text.color': INK[0],
        'axes.labelcolor': INK[0],
        'xtick.bottom': False,  # the grid shows where the ticks are
        'ytick.left': False,
        'xtick.labelcolor': SOFT[0],
        'ytick.labelcolor': SOFT[0],
        'axes.edgecolor': LINE[0],
        'axes.spines.top': False,
        'axes.spines.right': False,
        'axes.grid': True,
        'grid.color': LINE[0],
        'legend.frameon': False,
    }
    out = io.StringIO()
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # a glyph that this machine has no font for
        legend = 0.19 * entries
        figure = Figure(figsize=(4.6, 3.3 + legend))
        # At the right there is room for half of the last tick's label.
        axes = figure.add_axes((0.13, (0.5 + legend) / (3.3 + legend), 0.79, 2.7 / (3.3 + legend)))
        draw(axes)
        axes.locator_params(nbins=5)
        figure.legend(*axes.get_legend_handles_labels(), loc='lower left', bbox_to_anchor=(0.02, 0))
        figure.savefig(out, format='svg', transparent=True, metadata=dict(Date=None, Creator=None))
    # The page's own font: it is narrower than the one that was measured, so everything fits.
    light = dark = out.getvalue().replace("'DejaVu Sans'", 'system-ui')
    for on_light, on_dark in (INK, SOFT, LINE, *SERIES):
        dark = dark.replace(on_light, on_dark)
    return Chart(one_line(caption), _data_uri(light), _data_uri(dark))


def _data_uri(svg: str) -> str:
    return f'data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}'
