"""mIoU over the classes that occur."""

import logging
import math
import warnings

import numpy as np
from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric as MMSegIoUMetric

from mixae.errors import DataError
from mixae.registry import METRICS


@METRICS.register_module()
class IoUMetric(MMSegIoUMetric):
    """mmseg's ``IoUMetric`` that says which classes its mean is of.

    mmseg leaves a class that is neither in a mask nor predicted out of the mean, and counts one
    that is predicted alone as 0. Classes without a pixel are named in the log, and counted in the
    record as ``classes_absent``. Of less than two classes every metric is undefined (NaN): where a
    single class is left, any model is perfect.

    Args:
        **kwargs: Of mmseg's ``IoUMetric``.

    Raises:
        DataError: A mask that is not of its image's size, or with a label beyond the classes.
    """

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        """Compare predictions with their masks, which must fit."""
        for sample in data_samples if not self.format_only else ():
            predicted, mask = (sample[key]['data'] for key in ('pred_sem_seg', 'gt_sem_seg'))
            if predicted.shape[-2:] != mask.shape[-2:]:
                raise DataError(
                    f'{sample.get("seg_map_path")} has {mask.shape[-1]}x{mask.shape[-2]} pixels, '
                    f'its image {sample.get("img_path")} {predicted.shape[-1]}x'
                    f'{predicted.shape[-2]}: correct one of them.'
                )
            beyond = mask[(mask >= len(self.dataset_meta['classes'])) & (mask != self.ignore_index)]
            if beyond.numel():
                raise DataError(
                    f'{sample.get("seg_map_path")} holds the label {int(beyond.max())}; there are '
                    f'{len(self.dataset_meta["classes"])} classes, counted from 0.'
                )
        super().process(data_batch, data_samples)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The metrics, and how many classes have no pixel, if any."""
        if self.format_only:
            return super().compute_metrics(results)
        names = self.dataset_meta['classes']
        pixels = np.asarray(sum(label for *_, label in results))
        absent = [name for name, count in zip(names, pixels, strict=True) if count == 0]
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', RuntimeWarning)  # of a mean of nothing
            metrics = super().compute_metrics(results)
        defined = len(names) - len(absent) >= min(2, len(names))
        if absent:
            mean = 'of the others, and of 0 for each of these that was predicted'
            print_log(
                f'{len(absent)} of {len(names)} classes have no pixel in the {len(results)} '
                f'evaluated images ({", ".join(absent[:8])}{", ..." if len(absent) > 8 else ""}): '
                f'the mean is {mean if defined else "not defined: any model would be perfect"}.',
                logger='current',
                level=logging.WARNING,
            )
        if not defined:
            return dict.fromkeys(metrics, math.nan)
        return {**metrics, **({'classes_absent': len(absent)} if absent else {})}
