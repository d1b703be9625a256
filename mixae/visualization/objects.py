"""Where the class token looks, and the box that LOST finds, over scenes with masks."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle


def draw_objects(
    pictures: Sequence[np.ndarray],
    outlines: Sequence[np.ndarray],
    maps: Sequence[dict[str, np.ndarray]],
    boxes: Sequence[np.ndarray],
    title: str,
) -> Figure:
    """A row for each scene: the picture with its objects and box, and its attention maps.

    Args:
        pictures (Sequence[ndarray]): (height, width, 3), uint8 RGB.
        outlines (Sequence[ndarray]): The union of each scene's objects, (height, width) bool.
        maps (Sequence[dict]): Attention maps by label, (h, w) each.
        boxes (Sequence[ndarray]): LOST's, (left, top, right, bottom) in pixels.
        title (str): Stands above.
    """
    labels = ['picture', *maps[0]]
    figure = Figure(figsize=(1.6 * len(labels), 1.6 * len(pictures) + 0.7), layout='constrained')
    axes = figure.subplots(len(pictures), len(labels), squeeze=False)
    for row, picture, outline, found, box in zip(
        axes, pictures, outlines, maps, boxes, strict=True
    ):
        height, width = outline.shape
        for axis, content in zip(row, (picture, *found.values()), strict=True):
            extent = (-0.5, width - 0.5, height - 0.5, -0.5)
            axis.imshow(content, extent=extent, interpolation='nearest')
            axis.contour(outline, levels=[0.5], colors='white', linewidths=0.8)
            axis.set_axis_off()
        left, top, right, bottom = box - 0.5
        row[0].add_patch(
            Rectangle((left, top), right - left, bottom - top, fill=False, ec='red', lw=1.4)
        )
    for axis, label in zip(axes[0], labels, strict=True):
        axis.set_title(label, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure
