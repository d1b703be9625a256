"""Files that cannot be read, and truth that does not fit its image, named as they are loaded."""

import logging
import os

import mmcv
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import Compose
from mmengine.logging import print_log
from PIL import Image

from mixae.errors import DataError

MAX_REPLACEMENTS = 10
ORIENTATION = 0x0112  # the EXIF tag
WIDE_FORMATS = {'.tif', '.tiff', '.pgm', '.ppm', '.pnm'}


class UnreadableError(DataError):
    """An image or mask that cannot be read."""


class GuardedPipeline(Compose):
    """A data set's pipeline, with a look at the files it loads.

    - A file that cannot be read is named: :class:`UnreadableError`. With ``replace`` a warning says
      so once, and None makes mmengine's data sets draw another sample; more than 10 in a row stop.
    - An image of more than 8 bits a channel is refused: decoders cut it down to its upper 8, which
      leaves next to nothing of 12 bits stored as 16.
    - An image, its mask, and the size its annotations give must fit. Decoders turn an image by its
      EXIF orientation, and nothing turns boxes and masks.

    Args:
        transforms (list): The transforms, built.
        replace (bool): Whether another sample may take the place of an unreadable one.

    Raises:
        DataError: From a sample, as above.
    """

    def __init__(self, transforms: list, replace: bool) -> None:
        super().__init__(transforms)
        self.replace = replace
        self._warned: set[str] = set()
        self._in_a_row = 0

    def __call__(self, data: dict) -> dict | None:
        # What a data set stores itself, its loading step names itself.
        image = None if 'stored_at' in data else data.get('img_path')
        files = image, data.get('seg_map_path')
        try:
            data = self._run(data)
        except DataError:
            raise
        except Exception as error:
            message = unreadable(*files)
            if message is None:
                raise  # the pipeline failed, not the file
            self._in_a_row += 1
            if not self.replace or self._in_a_row > MAX_REPLACEMENTS:
                raise UnreadableError(f'{message}.') from error
            if message not in self._warned:
                self._warned.add(message)
                message += '; another sample of the data set takes its place.'
                print_log(message, logger='current', level=logging.WARNING)
            return None
        self._in_a_row = 0
        return data

    def _run(self, data: dict) -> dict | None:
        loader, has_mask = None, False
        for transform in self.transforms:
            if isinstance(transform, LoadImageFromFile):
                check_depth(data['img_path'])
            data = transform(data)
            if data is None:
                return None
            if isinstance(transform, LoadImageFromFile):
                loader = transform
                if data.get('height') and data.get('width'):
                    _check_fit(data, loader, (data['height'], data['width']), 'annotation file')
            elif loader and not has_mask and data.get('gt_seg_map') is not None:
                has_mask = True
                _check_fit(data, loader, data['gt_seg_map'].shape[:2], 'mask')
        return data


def guard(dataset, replace: bool | None = None) -> None:
    """Give a data set, and those it wraps, a :class:`GuardedPipeline`.

    Args:
        dataset: The data set. Without a ``pipeline`` it stays as it is.
        replace (bool, optional): See :class:`GuardedPipeline`. Defaults to None: as it was, and at
            first in training only, as the data set's ``test_mode`` says.
    """
    for inner in (getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', ())):
        if inner is not None:
            guard(inner, replace)
    pipeline = getattr(dataset, 'pipeline', None)
    if isinstance(pipeline, Compose) and not isinstance(pipeline, GuardedPipeline):
        in_training = not getattr(dataset, 'test_mode', False)
        dataset.pipeline = GuardedPipeline(pipeline.transforms, in_training)
    if replace is not None and isinstance(pipeline, Compose):
        dataset.pipeline.replace = replace


def unreadable(image: str | None, mask: str | None = None) -> str | None:
    """Which of two files cannot be read, and why, in words; None if both can."""
    for path, options in (
        (image, {}),
        (mask, dict(flag='unchanged', backend='pillow')),
    ):
        if not isinstance(path, str) or path.endswith('.npy'):  # LoadArray names those itself
            continue
        try:
            if mmcv.imread(path, **options) is not None:
                continue
            reason = 'it is damaged, or no image'
        except OSError as error:
            reason = error.strerror or 'it is damaged, or no image'
        except Exception:
            empty = os.path.isfile(path) and os.path.getsize(path) == 0
            reason = 'it is empty' if empty else 'it is damaged, or no image'
        return f'{path} cannot be read as an image: {reason}'
    return None


def check_depth(path: str, content: bytes | None = None) -> None:
    """Make sure that an image has no more than 8 bits a channel.

    Args:
        path (str): Its file; one that is missing, or in another storage, is not looked at.
        content (bytes, optional): What is in the file, where that has been read.

    Raises:
        DataError: It has more.
    """
    suffix = os.path.splitext(path)[1].lower()
    if content is None:
        if not (os.path.isfile(path) and suffix in {'.png', *WIDE_FORMATS}):
            return
        with open(path, 'rb') as file:
            content = file.read(25 if suffix == '.png' else -1)
    if suffix == '.png':
        wide = content.startswith(b'\x89PNG') and content[24:25] > b'\x08'
    else:
        wide = suffix in WIDE_FORMATS and mmcv.imfrombytes(content, 'unchanged').dtype != np.uint8
    if wide:
        raise DataError(
            f'{path} has more than 8 bits a channel, and what of them it uses is not known: '
            'convert the images to 8 bits.'
        )


def _check_fit(data: dict, loader: LoadImageFromFile, size: tuple[int, int], name: str) -> None:
    """An image of (height, width) as its mask or annotation file has it, and turned as they are."""
    path, (height, width) = data['img_path'], data['ori_shape']
    turns = 'ignore_orientation' not in loader.color_type and loader.color_type != 'unchanged'
    orientation, stored = _orientation(path) if turns else (1, None)
    turned = f', turned by its EXIF orientation {orientation}' if orientation != 1 else ''
    if (height, width) != tuple(size):
        its = f'its mask ({data["seg_map_path"]})' if name == 'mask' else 'its annotation file'
        raise DataError(
            f'{path} has {width}x{height} pixels{turned}, but {its} says '
            f'{"x".join(map(str, reversed(size)))}: boxes and masks do not fit it. Correct one of '
            'them.'
        )
    # On its side, the size that fits tells that the annotations are of the image as it is shown.
    if orientation != 1 and (orientation < 5 or stored[0] == stored[1]):
        raise DataError(
            f'{path} is {turned[2:]}, and its size does not tell whether boxes and masks are of '
            'the image as shown or as stored. Store it upright, without the orientation.'
        )


def _orientation(path: str) -> tuple[int, tuple[int, int]]:
    """EXIF orientation in an image's header, 1 (upright) to 8, and (width, height) as stored."""
    try:
        with Image.open(path) as image:
            exif = Image.Exif()
            exif.load(image.info.get('exif', b''))
            orientation = exif.get(ORIENTATION, 1)
            return (orientation if orientation in range(1, 9) else 1), image.size
    except Exception:  # what Pillow takes for no header, or no EXIF, turns nothing
        return 1, (0, 0)
