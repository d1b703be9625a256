"""Weighted kNN that scales to ImageNet, on one process or several.

Shape legend: N training images of this process, M test images, D width, K neighbours, C classes;
n, m chunks of them.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.device import get_device
from mmengine.dist import all_gather, all_reduce
from torch import Tensor

from mixae.errors import ConfigError
from mixae.registry import TASK_UTILS

# Images of a chunk: similarities of 256 MB at most are held, whatever the size of the data set.
_TEST_CHUNK, _TRAIN_CHUNK = 1024, 65_536


@TASK_UTILS.register_module()
class WeightedKNN:
    """Weighted k-nearest-neighbour classifier (Wu et al. 2018, Sec. 3.4).

    The k training features of largest cosine similarity s vote for their class with weight
    exp(s / temperature). Scores are the logarithms of the votes' sums, which no temperature takes
    out of range; a class without a vote has -inf, and is no guess of top-5 either.

    Of several processes each holds its share of the training features, and finds the neighbours
    of every test image among them; the best of all shares are the neighbours.

    Args:
        k (int | Sequence[int]): Neighbours; all training images if there are fewer. Of several
            values the first is the protocol's, and each makes a metric. Defaults to 20.
        temperature (float | Sequence[float]): As ``k``. Defaults to 0.07.
        whiten (bool): Give every principal component of the training features unit variance first.
            Cosine similarity follows the components of most variance, which in masked image
            modelling are those of backgrounds and textures (docs/probes.md). Defaults to False.

    Raises:
        ConfigError: A value that is not positive, or none.
    """

    shared = True  # each process brings its share of the training features

    def __init__(
        self,
        k: int | Sequence[int] = 20,
        temperature: float | Sequence[float] = 0.07,
        whiten: bool = False,
    ) -> None:
        self.k = [k] if isinstance(k, int) else list(k)
        self.temperature = (
            [temperature] if isinstance(temperature, int | float) else list(temperature)
        )
        if not self.k or not self.temperature or min(self.k) < 1 or min(self.temperature) <= 0:
            raise ConfigError(f'k={k}, temperature={temperature}: all must be positive.')
        self.whiten = whiten

    def __call__(
        self, train_ND: np.ndarray, labels_N: np.ndarray, test_MD: np.ndarray, num_classes: int
    ) -> Tensor:
        """Class scores of the test images with the first k and temperature, (M, C)."""
        return next(self.settings(train_ND, labels_N, test_MD, num_classes))[1]

    def settings(
        self, train_ND: np.ndarray, labels_N: np.ndarray, test_MD: np.ndarray, num_classes: int
    ) -> Iterator[tuple[str, Tensor]]:
        """Name and class scores (M, C) of each k and temperature; the neighbours are found once.

        Args:
            train_ND (np.ndarray): Training features, float32; of this process where there are more.
            labels_N (np.ndarray): Their classes.
            test_MD (np.ndarray): All test features, on every process.
            num_classes (int): C.
        """
        train_ND, test_MD = torch.from_numpy(train_ND), torch.from_numpy(test_MD)
        if self.whiten:
            train_ND, test_MD = _whiten(train_ND, test_MD)
        train_ND, test_MD = F.normalize(train_ND, dim=1), F.normalize(test_MD, dim=1)
        labels_N = torch.from_numpy(labels_N)
        found = [
            nearest(test_mD, train_ND, labels_N, max(self.k))
            for test_mD in test_MD.split(_TEST_CHUNK)
        ]
        similarity_MK, classes_MK = (torch.cat(parts) for parts in zip(*found, strict=True))
        for k in self.k:
            for temperature in self.temperature:
                scores_MC = vote(similarity_MK[:, :k] / temperature, classes_MK[:, :k], num_classes)
                yield f'k{k}_t{temperature:g}', scores_MC


def nearest(test_mD: Tensor, train_ND: Tensor, labels_N: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Similarity and class of the k nearest training images of all processes, nearest first.

    Both (m, min(k, images)); the best of the chunks so far are kept, so that no block of m times
    all training images is ever held.
    """
    device = get_device()
    test_mD = test_mD.to(device)
    best_mK = torch.empty(len(test_mD), 0, device=device)
    class_mK = torch.empty(len(test_mD), 0, dtype=torch.long, device=device)
    for train_nD, labels_n in zip(
        train_ND.split(_TRAIN_CHUNK), labels_N.split(_TRAIN_CHUNK), strict=True
    ):
        similarity_mK, index_mK = (test_mD @ train_nD.to(device).T).topk(min(k, len(train_nD)))
        best_mK, class_mK = _best(
            k, [best_mK, similarity_mK], [class_mK, labels_n.to(device)[index_mK]]
        )
    missing = (0, k - best_mK.shape[1])  # shares of other sizes are gathered at one size
    padded = F.pad(best_mK, missing, value=-math.inf), F.pad(class_mK, missing)
    best_mK, class_mK = _best(k, *(all_gather(x.contiguous()) for x in padded))
    count = int(best_mK[:1].isfinite().sum())
    return best_mK[:, :count].cpu(), class_mK[:, :count].cpu()


def _best(k: int, similarities: list[Tensor], classes: list[Tensor]) -> tuple[Tensor, Tensor]:
    similarity, classes = torch.cat(similarities, dim=1), torch.cat(classes, dim=1)
    similarity, index = similarity.topk(min(k, similarity.shape[1]))
    return similarity, classes.gather(1, index)


def vote(logits_MK: Tensor, classes_MK: Tensor, num_classes: int) -> Tensor:
    """Logarithm of each class's sum of exp(logits), (M, C); -inf where it has none.

    Of each class the largest is taken out first: nothing overflows or vanishes.
    """
    none_MC = logits_MK.new_full((len(logits_MK), num_classes), -math.inf)
    largest_MC = none_MC.scatter_reduce(1, classes_MK, logits_MK, 'amax')
    shares_MK = (logits_MK - largest_MC.gather(1, classes_MK)).exp()
    return largest_MC + torch.zeros_like(none_MC).scatter_add(1, classes_MK, shares_MK).log()


def _whiten(train_ND: Tensor, test_MD: Tensor) -> tuple[Tensor, Tensor]:
    """Both by the mean and the principal components of the training features of all processes.

    Components of next to no variance are left out: they would be noise as large as the rest.
    """
    device = get_device()
    moments = torch.zeros(train_ND.shape[1] + 1, dtype=torch.double, device=device)
    moments[:-1] = train_ND.double().sum(dim=0)
    moments[-1] = len(train_ND)
    all_reduce(moments)
    count, mean_D = moments[-1].cpu(), (moments[:-1] / moments[-1]).cpu()
    scatter_DD = sum(
        centred.T @ centred for centred in (x.double() - mean_D for x in train_ND.split(65_536))
    ).to(device)
    all_reduce(scatter_DD)
    variances_D, components_DD = torch.linalg.eigh(scatter_DD.cpu() / (count - 1))
    kept_D = variances_D > 1e-6 * variances_D[-1]
    basis_DK = components_DD[:, kept_D] / variances_D[kept_D].sqrt()
    return tuple(
        torch.cat([((part.double() - mean_D) @ basis_DK).float() for part in x.split(65_536)])
        for x in (train_ND, test_MD)
    )
