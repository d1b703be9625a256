"""Pictures of feature spaces: embeddings in two dimensions, nearest images, CKA."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from mixae.errors import DataError
from mixae.visualization.grid import Cell, draw_grid


def embed(features_ND: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Two dimensions by PCA and by t-SNE of scikit-learn, (N, 2) each.

    Raises:
        DataError: Fewer than 6 images.
    """
    if len(features_ND) < 6:
        raise DataError(f'{len(features_ND)} images are too few to embed: 6 or more are needed.')
    pca = PCA(min(50, *features_ND.shape), random_state=seed).fit_transform(features_ND)
    perplexity = min(30.0, (len(features_ND) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init='pca', random_state=seed)
    return {'PCA': pca[:, :2], 't-SNE': tsne.fit_transform(pca)}


def draw_embeddings(
    points: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str], seed: int = 0
) -> Figure:
    """PCA above and t-SNE below, a column for each encoder, coloured by class."""
    figure = Figure(figsize=(3.2 * len(points) + 1.3, 6.2), layout='constrained')
    axes = figure.subplots(2, len(points), squeeze=False)
    colours = matplotlib.colormaps['tab10' if len(classes) <= 10 else 'turbo']
    scale = 9 if len(classes) <= 10 else max(1, len(classes) - 1)
    for column, (label, features) in zip(axes.T, points.items(), strict=True):
        for axis, (name, found) in zip(column, embed(features, seed).items(), strict=True):
            axis.scatter(*found.T, c=colours(labels / scale), s=7, lw=0)
            axis.set(xticks=[], yticks=[], title=f'{label}: {name}')
    if len(classes) <= 20:
        handles = [
            matplotlib.lines.Line2D([], [], marker='o', ls='', color=colours(i / scale), label=name)
            for i, name in enumerate(classes)
        ]
        figure.legend(handles=handles, loc='outside right center', frameon=False, fontsize=8)
    return figure


def draw_neighbours(
    pictures: Mapping[str, Sequence[Sequence[np.ndarray]]], count: int, title: str
) -> Figure:
    """A query and its nearest images in each row, (height, width, 3) uint8 RGB."""
    rows = {
        f'{label} {i + 1}': [Cell(picture) for picture in row]
        for label, found in pictures.items()
        for i, row in enumerate(found)
    }
    columns = ['query', *(str(i + 1) for i in range(count))]
    return draw_grid(rows, columns, title, 'Nearest by cosine similarity, the nearest first.')


def draw_cka(names: Sequence[str], cka: np.ndarray) -> Figure:
    """Linear CKA between all sets of features."""
    side = 0.3 * len(names) + 2.4
    figure = Figure(figsize=(side + 0.8, side), layout='constrained')
    axis = figure.add_subplot()
    shown = axis.imshow(cka, vmin=0, vmax=1, cmap='magma')
    ticks = range(len(names))
    axis.set(xticks=ticks, yticks=ticks, yticklabels=names, title='Linear CKA')
    axis.set_xticklabels(names, rotation=90)
    axis.tick_params(labelsize=7)
    figure.colorbar(shown, shrink=0.8)
    return figure
