"""Top-k accuracy of any scores."""

import math

import torch
from mmengine.logging import print_log
from mmpretrain.evaluation import Accuracy as MMPretrainAccuracy
from torch import Tensor

from mixae.errors import NotFiniteError
from mixae.registry import METRICS


def top_k_accuracy(scores_MC: Tensor, labels_M: Tensor, topk: tuple[int, ...]) -> dict[str, float]:
    """Share of images whose label is among the k classes of largest score, in %.

    mmpretrain's function takes scores for probabilities: with its default threshold a class whose
    score is not positive is never among the k, and logits are not positive half of the time.

    Args:
        scores_MC (Tensor): Scores of M images for C classes, of any sign; -inf is no guess.
        labels_M (Tensor): Their labels.
        topk (tuple[int]): Values of k, at most C.

    Returns:
        dict[str, float]: 'top1', ... in the order of ``topk``.

    Raises:
        NotFiniteError: A score is NaN or +inf.
    """
    wrong = (scores_MC.isnan() | scores_MC.eq(math.inf)).any(dim=1)
    if wrong.any():
        raise NotFiniteError(
            f'The scores of {int(wrong.sum())} of {len(scores_MC)} images are not finite: the '
            'weights are broken, or the learning rate was too large.'
        )
    values = MMPretrainAccuracy.calculate(scores_MC, labels_M, topk=topk, thrs=(-math.inf,))
    return {f'top{k}': value.item() for k, (value,) in zip(topk, values, strict=True)}


def cap_topk(topk: tuple[int, ...], num_classes: int) -> tuple[int, ...]:
    """Those k that there are classes for; 1 in any case."""
    return tuple(k for k in topk if k <= num_classes) or (1,)


@METRICS.register_module()
class Accuracy(MMPretrainAccuracy):
    """mmpretrain's ``Accuracy`` for scores of any sign, and for any number of classes.

    Theirs fails after the last epoch where there are fewer classes than ``topk`` asks for.

    Args:
        topk (int | Sequence[int]): Values of k; those above the number of classes are left out, as
            the log says. Defaults to (1, 5).
        **kwargs: Of mmengine's ``BaseMetric``: ``collect_device``, ``prefix``.
    """

    def __init__(self, topk: int | tuple[int, ...] = (1, 5), **kwargs) -> None:
        super().__init__(topk=topk, thrs=None, **kwargs)

    @property
    def dataset_meta(self) -> dict | None:
        """What the data set says of itself; set before the first image is seen."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict) -> None:
        self._dataset_meta = meta
        classes = (meta or {}).get('classes')
        kept = cap_topk(self.topk, len(classes)) if classes else self.topk
        if kept != self.topk:
            print_log(
                f'{len(classes)} classes: accuracy is top-{" and top-".join(map(str, kept))}, not '
                f'top-{" and top-".join(map(str, self.topk))}.',
                logger='current',
            )
            self.topk = kept

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Top-k accuracy of all images, in %."""
        scores_MC = torch.stack([result['pred_score'] for result in results]).float()
        labels_M = torch.cat([result['gt_label'] for result in results])
        return top_k_accuracy(scores_MC, labels_M, cap_topk(self.topk, scores_MC.shape[1]))
