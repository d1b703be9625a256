"""A check of segmentation labels."""

from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mixae.errors import DataError
from mixae.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CheckSegLabels(BaseTransform):
    """Stops at a mask with labels beyond the classes, and names the file.

    Without it training ends in an index or device assertion that names nothing, and mmseg's mIoU
    leaves such pixels out without a word. Masks of 16 bits, whose labels mmseg's loader takes
    modulo 256, and coloured ones are refused for the same reason.

    Required: ``gt_seg_map``, ``seg_map_path``. Adds and changes nothing.

    Args:
        num_classes (int): Labels 0..num_classes-1 are classes.
        ignore_index (int): The label that is none. Defaults to 255.

    Raises:
        DataError: From a mask with another label, or that is no image of one 8-bit number a pixel.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        """Check one mask."""
        labels = results['gt_seg_map']
        path = results.get('seg_map_path')
        # Only the file's header is read; masks that lie elsewhere than on a disk go by their shape.
        mode = 'L'
        if path and Path(path).is_file():
            with Image.open(path) as mask:
                mode = mask.mode
        if labels.ndim != 2 or mode not in ('1', 'L', 'P'):
            raise DataError(
                f'{path} is no mask of labels: its shape is {labels.shape}, its mode {mode}. '
                'Expected an image with one channel of 8 bits, a label a pixel.'
            )
        if labels.max(initial=0) >= self.num_classes:
            found = np.unique(labels)
            wrong = found[(found >= self.num_classes) & (found != self.ignore_index)].tolist()
            if wrong:
                raise DataError(
                    f'{path} holds the labels {wrong[:8]}; there are '
                    f'{self.num_classes} classes, 0..{self.num_classes - 1}, and '
                    f'{self.ignore_index} for none. Correct the mask, num_classes or '
                    'reduce_zero_label.'
                )
        return results
