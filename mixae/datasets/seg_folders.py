"""Folders of images and masks for segmentation."""

import logging
import os

from mmengine.logging import print_log
from mmseg.datasets import ADE20KDataset as MMSegADE20KDataset
from mmseg.datasets import BaseSegDataset

from mixae.datasets.folders import SUFFIXES, left_out, list_files
from mixae.errors import DataError
from mixae.registry import DATASETS


class _AnyImage:
    """Pairs images of any suffix with their masks, for mmseg's data sets.

    Theirs takes the files of one suffix, in its spelling, and leaves out the others without a word;
    a missing mask ends in a traceback when it is read.

    Args:
        img_suffix (str, optional): Take these files only. Defaults to None, every image.
        seg_map_suffix (str): How a mask's name ends. Defaults to '.png'.
        **kwargs: Of mmseg's data set.

    Raises:
        DataError: No image; an image without a mask; two images for one mask.
    """

    def __init__(
        self, img_suffix: str | None = None, seg_map_suffix: str = '.png', **kwargs
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Images with their masks, in the order of their paths."""
        root = self.data_prefix['img_path']
        suffixes = (self.img_suffix,) if self.img_suffix else SUFFIXES
        images = self._by_stem(root, suffixes)
        names = images
        if self.ann_file:
            with open(self.ann_file, encoding='utf-8') as file:
                names = [line.strip() for line in file if line.strip()]
            absent = [name for name in names if name not in images]
            if absent:
                raise DataError(
                    f'{len(absent)} of the {len(names)} images of {self.ann_file} are not in '
                    f'{root}, {absent[0]} is the first.'
                )
        masks = {}
        if self.data_prefix.get('seg_map_path') is not None:
            masks = self._masks(images, names)
        common = dict(label_map=self.label_map, reduce_zero_label=self.reduce_zero_label)
        data_list = [
            dict(img_path=os.path.join(root, images[name]), **masks.get(name, {}), **common)
            for name in names
        ]
        for info in data_list:
            info['seg_fields'] = []
        return sorted(data_list, key=lambda info: info['img_path'])

    def _masks(self, images: dict[str, str], names) -> dict[str, dict]:
        root = self.data_prefix['seg_map_path']
        masks = self._by_stem(root, (self.seg_map_suffix,))
        missing = [name for name in names if name not in masks]
        if missing:
            raise DataError(
                f'{len(missing)} of {len(names)} images have no mask in {root}: '
                f'{images[missing[0]]} is the first, expected '
                f'{os.path.join(root, missing[0] + self.seg_map_suffix)}.'
            )
        return {name: dict(seg_map_path=os.path.join(root, masks[name])) for name in names}

    def _by_stem(self, root: str, suffixes: tuple[str, ...]) -> dict[str, str]:
        """Paths below ``root`` by what they are called without their suffix."""
        files = list_files(root)
        found, others = {}, []
        for path in files:
            suffix = next((s for s in suffixes if path.lower().endswith(s.lower())), None)
            if suffix is None:
                others.append(path)
                continue
            stem = path[: -len(suffix)]
            if stem in found:
                raise DataError(
                    f'{root} holds {found[stem]} and {path}, which would have one mask: take one '
                    'away, or set img_suffix.'
                )
            found[stem] = path
        line = left_out(others, root, len(files), f'not {", ".join(suffixes)}')
        if not found:
            raise DataError(
                f'There is no {" or ".join(suffixes)} in {root}: {line or "it is empty."} Set '
                'data_root, data_prefix or the suffix.'
            )
        if line:
            print_log(line, logger='current', level=logging.WARNING)
        return found


@DATASETS.register_module()
class SegFolder(_AnyImage, BaseSegDataset):
    """mmseg's ``BaseSegDataset`` for images of any suffix, with what it leaves out said.

    Args:
        **kwargs: Of ``BaseSegDataset``. ``img_suffix`` defaults to None, every image.

    Raises:
        DataError: No image; an image without a mask; two images for one mask.
    """


@DATASETS.register_module()
class ADE20KDataset(_AnyImage, MMSegADE20KDataset):
    """mmseg's ``ADE20KDataset``, reading its folders as :class:`SegFolder` does."""
