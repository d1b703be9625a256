"""One picture of all three views of digit scenes, with their labels drawn."""

import json
import os

import numpy as np
import pycocotools.mask as mask_utils
from PIL import Image, ImageDraw

from mixae.files import check_output, replace_whole

from .build import DIGIT_NAMES, FOLDERS, prepare
from .datasets import DigitScenesSeg
from .options import check_split

COLUMNS = 6
EDGE = 160  # pixels of a cell
TITLE = 16  # pixels of the line above a cell


def contact_sheet(
    split: str = 'train', data_root: str | os.PathLike | None = None, scenes: int = COLUMNS
) -> Image.Image:
    """Draw examples of a split, read from the files on disk.

    Two rows of classification pictures under their class; then, column by column, a scene, its
    boxes and visible masks with names, and its semantic labels with the names of the backgrounds.

    Args:
        split (str): 'train' or 'test'.
        data_root (str, optional): Where digit scenes lie or are made, with the default options.
        scenes (int): Number of columns.

    Returns:
        PIL.Image.Image: RGB.

    Raises:
        ValueError, DataError: As :func:`mixae.datasets.digit_scenes.prepare`.
    """
    where = FOLDERS[check_split(split)]
    classification = prepare('classification', data_root, splits=(split,))
    folder = prepare('scenes', data_root, splits=(split,))
    images = np.load(classification / f'{split}_images.npy', mmap_mode='r')
    labels = np.load(classification / f'{split}_labels.npy')
    tables = json.loads((folder / 'coco' / f'instances_{where}.json').read_text())
    per_row = scenes * 2
    sheet = Image.new('RGB', (scenes * EDGE, 2 * (EDGE // 2 + TITLE) + 3 * (EDGE + TITLE)), 'white')
    for i in range(2 * per_row):
        at = (i % per_row * EDGE // 2, i // per_row * (EDGE // 2 + TITLE))
        _put(sheet, images[i], at, EDGE // 2, DIGIT_NAMES[labels[i]])
    for i in range(scenes):
        top = 2 * (EDGE // 2 + TITLE)
        name = tables['images'][i]['file_name']
        scene = np.asarray(Image.open(folder / 'images' / where / name))
        instances = [a for a in tables['annotations'] if a['image_id'] == i]
        semantic = np.asarray(Image.open(folder / 'annotations' / where / name))
        _put(sheet, scene, (i * EDGE, top), EDGE, f'{split} scene {i}')
        title = ', '.join(DIGIT_NAMES[a['category_id'] - 1] for a in instances)
        _put(sheet, _draw(scene, instances), (i * EDGE, top + EDGE + TITLE), EDGE, title)
        palette = np.array([[0, 0, 0], *DigitScenesSeg.METAINFO['palette']], np.uint8)
        stuff = [DigitScenesSeg.METAINFO['classes'][k - 1] for k in np.unique(semantic) if k > 10]
        at = (i * EDGE, top + 2 * (EDGE + TITLE))
        _put(sheet, palette[semantic], at, EDGE, ', '.join(stuff))
    return sheet


def save_contact_sheet(path: str | os.PathLike, **kwargs) -> None:
    """Write :func:`contact_sheet` to ``path``, as a PNG of 256 colours to keep it small."""
    check_output(path, ('.png',))
    sheet = contact_sheet(**kwargs)
    with replace_whole(path) as draft:
        sheet.quantize(256, kmeans=3, dither=Image.Dither.NONE).save(draft, optimize=True)


def _put(sheet, pixels, at, edge, title) -> None:
    ImageDraw.Draw(sheet).text((at[0] + 2, at[1] + 2), title, fill='black')
    picture = Image.fromarray(pixels).resize((edge - 2, edge - 2), Image.Resampling.NEAREST)
    sheet.paste(picture, (at[0], at[1] + TITLE))


def _draw(scene: np.ndarray, instances: list[dict]) -> np.ndarray:
    """Masks tinted, boxes outlined, in the colour of the class."""
    out = scene.copy()
    for a in instances:
        colour = np.array(DigitScenesSeg.METAINFO['palette'][a['category_id'] - 1])
        mask = mask_utils.decode(a['segmentation']).astype(bool)
        out[mask] = (out[mask] * 0.35 + colour * 0.65).astype(np.uint8)
        x, y, w, h = (int(v) for v in a['bbox'])
        out[[y, y + h - 1], x : x + w] = colour
        out[y : y + h, [x, x + w - 1]] = colour
    return out
