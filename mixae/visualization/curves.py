"""Curves of training."""

import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mixae.engine.hooks.topk_accuracy import read_curve
from mixae.errors import DataError
from mixae.files import check_output
from mixae.results.watched import at_the_end
from mixae.visualization.grid import ENDINGS, save_figure


def curve_rows(source: str | Path) -> list[dict]:
    """The readings of TopK sampling accuracy of one run.

    Args:
        source: The ``topk_accuracy.jsonl`` of a run, its work directory, or a run record (JSON) of
            an evaluation of it.

    Returns:
        list[dict]: 'iter', 'chance' and 'layers' (accuracy by layer number, as text) a reading.

    Raises:
        DataError: There is no such file, or it holds no reading.
    """
    path = Path(source)
    path = path / 'topk_accuracy.jsonl' if path.is_dir() else path
    if not path.is_file():
        raise DataError(f'There is no {path}: MixedAE runs with mixae.TopKAccuracyHook write it.')
    try:
        rows = _rows_of_record(path) if path.suffix == '.json' else read_curve(path)
        sound = all(
            row['iter'] >= 0 and row['chance'] >= 0 and isinstance(row['layers'], dict)
            for row in rows
        )
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        sound = False
    rows = [row for row in rows if row['layers']] if sound else []  # others hold a loss alone
    if not rows:
        raise DataError(f'{path}: no reading of TopK sampling accuracy in it.')
    return rows


def _rows_of_record(path: Path) -> list[dict]:
    curve = json.loads(path.read_text()).get('curves', {}).get('topk_accuracy')
    if curve is None:
        return []
    return [
        dict(
            iter=x,
            chance=curve['reference'],
            layers={name.split()[-1]: values[i] for name, values in curve['lines'].items()},
        )
        for i, x in enumerate(curve['x'])
    ]


def final_accuracy(rows: Sequence[dict]) -> dict[str, float]:
    """Accuracy of each layer at the end of pre-training, as tables show it."""
    return {n: at_the_end([row['layers'][n] for row in rows]) for n in rows[-1]['layers']}


def plot_topk_accuracy(source: str | Path, path: str | Path, title: str = '') -> Path:
    """Draw TopK sampling accuracy over training, a line a layer, with the line of chance.

    Args:
        source: See :func:`curve_rows`.
        path (str | Path): The PNG to write.
        title (str): Stands above. Defaults to 'TopK sampling accuracy'.

    Returns:
        Path: The PNG.
    """
    check_output(path, ENDINGS)
    rows = curve_rows(source)
    layers = sorted(rows[0]['layers'], key=int)
    steps = [row['iter'] for row in rows]
    colours = matplotlib.colormaps['viridis']
    figure = Figure(figsize=(7, 4.2), dpi=120, layout='constrained')
    ax = figure.add_subplot()
    for i, layer in enumerate(layers):
        values = [100 * row['layers'][layer] for row in rows]
        colour = colours(0.9 * i / max(1, len(layers) - 1))
        ax.plot(steps, values, color=colour, lw=1.6, label=f'layer {layer}')
    chance = 100 * rows[-1]['chance']
    ax.axhline(chance, color='black', ls='--', lw=1.2, label=f'chance: {chance:.1f} %')
    ax.set(
        xlabel='iteration' + ('' if '0' in layers else '  (layer 0 attends globally)'),
        ylabel='kept patch keys of the same image (%)',
        title=title or 'TopK sampling accuracy',
        ylim=(0, 100),
        xlim=(0, max(steps)),
    )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.25)
    ax.spines[['top', 'right']].set_visible(False)
    figure.legend(loc='outside right upper', frameon=False, fontsize=9)
    return save_figure(figure, path, facecolor='white')
