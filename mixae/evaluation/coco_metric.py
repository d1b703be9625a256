"""COCO's AP of the images that were evaluated."""

from mmdet.evaluation import FasterCocoMetric

from mixae.registry import METRICS


@METRICS.register_module()
class CocoMetric(FasterCocoMetric):
    """mmdet's ``FasterCocoMetric``, over the images that it was given predictions of.

    mmdet's counts every image of ``ann_file``: with ``dataset.indices`` those that nobody looked at
    are misses, and a perfect detector's AP is far below 1.

    Args:
        **kwargs: Of mmdet's ``FasterCocoMetric``.
    """

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The metrics of (truth, prediction) pairs, one an image."""
        self.img_ids = [truth['img_id'] for truth, _ in results]
        return super().compute_metrics(results)
