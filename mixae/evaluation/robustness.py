"""Metrics of ImageNet's variants: accuracy among some classes, errors under corruptions."""

from collections import defaultdict
from collections.abc import Sequence

import torch

from mixae.datasets.imagenet_variants import CORRUPTIONS
from mixae.errors import DataError
from mixae.evaluation.accuracy import Accuracy, cap_topk, top_k_accuracy
from mixae.registry import METRICS

# AlexNet's errors, means over the five severities (Hendrycks and Dietterich 2019, their code).
ALEXNET = dict(
    zip(
        CORRUPTIONS,
        (
            *(0.886428, 0.894468, 0.922640, 0.819880, 0.826268, 0.785948, 0.798360, 0.866816),
            *(0.826572, 0.819324, 0.564592, 0.853204, 0.646056, 0.717840, 0.606500),
        ),
        strict=True,
    )
)


@METRICS.register_module()
class SubsetAccuracy(Accuracy):
    """Accuracy where a prediction is chosen among the classes that the test set has.

    The data set says which, as ``metainfo['tested']`` (ImageNet-A and R have 200 of the 1000);
    without it all are.
    """

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Top-k accuracy of all images, in %."""
        scores_MC = torch.stack([result['pred_score'] for result in results]).float()
        labels_M = torch.cat([result['gt_label'] for result in results])
        tested = (self.dataset_meta or {}).get('tested')
        topk = self.topk
        if tested is not None:
            topk = cap_topk(topk, len(tested))
            others_C = torch.ones(scores_MC.shape[1], dtype=torch.bool)
            others_C[list(tested)] = False
            scores_MC = scores_MC.masked_fill(others_C.to(scores_MC.device), -torch.inf)
        return top_k_accuracy(scores_MC, labels_M, topk)


@METRICS.register_module()
class CorruptionError(Accuracy):
    """The mean corruption error (mCE) of ImageNet-C, AlexNet's being 100.

    mCE is the mean over 15 corruptions of the error over five severities, divided by AlexNet's
    (Hendrycks and Dietterich 2019). Beside it: the accuracy over all images.
    """

    default_prefix = None

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            top = sample['pred_score'].float()
            if not torch.isfinite(top).all():
                top_k_accuracy(top[None], sample['gt_label'].to(top.device), (1,))  # says so
            self.results.append(
                dict(
                    corruption=sample['corruption'],
                    severity=sample['severity'],
                    right=int(top.argmax() == sample['gt_label'].to(top.device)),
                )
            )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """``mean_corruption_error``, and ``accuracy/top1`` in %."""
        right = defaultdict(list)
        for result in results:
            right[result['corruption'], result['severity']].append(result['right'])
        missing = [c for c in ALEXNET for s in range(1, 6) if (c, s) not in right]
        if missing:
            raise DataError(
                f'No image of {missing[0]} in some severity: mCE needs all 15 in all 5.'
            )
        errors = {
            c: sum(1 - sum(right[c, s]) / len(right[c, s]) for s in range(1, 6)) / 5
            for c in ALEXNET
        }
        return {
            'mean_corruption_error': 100 * sum(errors[c] / ALEXNET[c] for c in ALEXNET) / 15,
            'accuracy/top1': 100 * sum(result['right'] for result in results) / len(results),
        }
