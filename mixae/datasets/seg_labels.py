"""A check of segmentation labels."""

import numpy as np
from mmcv.transforms import BaseTransform

from mixae.datasets.seeded import DataError
from mixae.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CheckSegLabels(BaseTransform):
    """Stops at a mask with labels beyond the classes, and names the file.

    Without it training ends in an index or device assertion that names nothing, and mmseg's mIoU
    leaves such pixels out without a word.

    Required: ``gt_seg_map``, ``seg_map_path``. Adds and changes nothing.

    Args:
        num_classes (int): Labels 0..num_classes-1 are classes.
        ignore_index (int): The label that is none. Defaults to 255.

    Raises:
        DataError: From a mask with another label.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        """Check one mask."""
        labels = results['gt_seg_map']
        if labels.max(initial=0) >= self.num_classes:
            found = np.unique(labels)
            wrong = found[(found >= self.num_classes) & (found != self.ignore_index)].tolist()
            if wrong:
                raise DataError(
                    f'{results.get("seg_map_path")} holds the labels {wrong[:8]}; there are '
                    f'{self.num_classes} classes, 0..{self.num_classes - 1}, and '
                    f'{self.ignore_index} for none. Correct the mask, num_classes or '
                    'reduce_zero_label.'
                )
        return results
