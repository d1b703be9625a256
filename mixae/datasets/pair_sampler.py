"""Semantics-enhanced sampling of i-MAE (Sec. 3.1.1, Eq. 6): anchors and their partners."""

import math
from collections.abc import Iterator, Sized
from numbers import Real

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.logging import print_log
from torch.utils.data import Sampler

from mixae.datasets.pseudo_labels import load_pseudo_labels
from mixae.datasets.sampling import SampleIndex
from mixae.errors import DataError
from mixae.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class PairSampler(Sampler):
    """Yields anchor, partner, anchor, partner, ...: each image once an epoch as an anchor.

    Partners are drawn from the whole data set, with replacement across anchors. A share
    ``same_class_ratio`` (the paper's r) of them has the anchor's class, the rest another class;
    None is uniform over the other images. The share holds within one pair in any run of
    consecutive pairs of a process, so in each of its batches, on unbalanced classes too. A class
    with a single image has that image as its own partner; the log says how many such classes
    there are.

    Give the DataLoader an even ``batch_size``, 2 images a mixture, and ``drop_last=True``. Images
    seen in an epoch are anchors and partners, ``2 * len(dataset)``.

    With several processes, each gets every n-th anchor; all get the same number of pairs, the
    first anchors of the epoch filling up the last. What is drawn depends on (seed, epoch) alone,
    so a resumed epoch repeats. A partner depends on its anchor, the seed, the epoch and on
    whether it is of the same class; only the latter depends on the number of processes. The
    indices carry what their augmentation is seeded with (:class:`SampleIndex`): an image that is
    its own partner is augmented twice, differently.

    Args:
        dataset (Sized): The training set. Its labels are read only where they are needed: from
            ``get_gt_labels()`` or ``get_cat_ids(i)``, through wrappers that hold their data set
            in ``dataset``.
        same_class_ratio (float, optional): In [0, 1], or None. Uses labels unless None or
            ``pseudo_labels``: such runs carry ``labels_in_pretraining``. Defaults to None.
        pseudo_labels (str, optional): File of pseudo-classes to use in place of labels, as
            ``tools/datasets/make_pseudo_labels.py`` writes it (the paper's label-free
            alternative). If the features that were clustered come from a model that saw labels,
            so does this run. Defaults to None.
        seed (int, optional): Shared by all processes; the Runner sets it. Defaults to None, one
            that the processes agree on.

    Raises:
        DataError: A share outside [0, 1]; labels missing where they are needed; fewer than 2
            images; a share below 1 with a single class; pseudo-labels of another data set, or
            with nothing to use them. All when the sampler is built.
    """

    def __init__(
        self,
        dataset: Sized,
        same_class_ratio: float | None = None,
        pseudo_labels: str | None = None,
        seed: int | None = None,
    ) -> None:
        if same_class_ratio is not None and not (
            isinstance(same_class_ratio, Real) and 0 <= same_class_ratio <= 1
        ):
            raise DataError(
                f'same_class_ratio={same_class_ratio!r} is outside [0, 1]; None draws the partners '
                'without regard to classes.'
            )
        if len(dataset) < 2:
            raise DataError(
                f'The data set has {len(dataset)} image(s): i-MAE mixes each image with another '
                'and needs at least 2.'
            )
        if pseudo_labels is not None and same_class_ratio is None:
            raise DataError(
                'pseudo_labels are given, but same_class_ratio=None draws partners without '
                'classes: set a share in [0, 1] or leave pseudo_labels out.'
            )
        self.dataset = dataset
        self.same_class_ratio = same_class_ratio
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0
        self.num_pairs = math.ceil(len(dataset) / self.world_size)
        self.labels_in_pretraining = False
        self.pseudo_provenance = None
        if same_class_ratio is None:
            return
        if pseudo_labels is None:
            labels = dataset_labels(dataset)
            self.labels_in_pretraining = True
        else:
            labels, self.pseudo_provenance = load_pseudo_labels(pseudo_labels, dataset)
            self.labels_in_pretraining = bool(self.pseudo_provenance.get('labels_in_pretraining'))
        self._index_classes(np.asarray(labels))

    def _index_classes(self, labels: np.ndarray) -> None:
        """Sort the images by class: a class is then a slice of ``by_class``."""
        _, self.class_of, self.class_size = np.unique(
            labels, return_inverse=True, return_counts=True
        )
        if len(self.class_size) == 1 and self.same_class_ratio < 1:
            raise DataError(
                f'same_class_ratio={self.same_class_ratio} asks for partners of another class, '
                'but all images have the same one.'
            )
        self.by_class = np.argsort(self.class_of, kind='stable')
        self.class_start = np.cumsum(self.class_size) - self.class_size
        place = np.empty(len(labels), dtype=np.int64)
        place[self.by_class] = np.arange(len(labels))
        self.place_in_class = place - self.class_start[self.class_of]
        single = int((self.class_size == 1).sum())
        if single and self.same_class_ratio > 0:
            print_log(
                f'{single} of {len(self.class_size)} classes have one image: where it is to be '
                'mixed with its own class, that image is its own partner.',
                logger='current',
            )

    def pairs(self) -> np.ndarray:
        """This process's pairs of the epoch, (num_pairs, 2): anchor, partner."""
        N = len(self.dataset)
        generator = np.random.default_rng([self.seed, self.epoch])
        order = generator.permutation(N)
        uniform = generator.random(N)  # of each image, so that a partner goes with its anchor
        # Shifted from process to process, so that the share holds over all of their batches too.
        phase = generator.random() + self.rank / self.world_size
        anchors = np.resize(order, self.num_pairs * self.world_size)
        anchors = anchors[self.rank :: self.world_size]
        uniform = uniform[anchors]
        if self.same_class_ratio is None:
            return np.stack([anchors, _skip(uniform, N, anchors, 1)], axis=1)

        group = self.class_of[anchors]
        size, start = self.class_size[group], self.class_start[group]
        # The k-th step of floor(r k + phase): r of any run of steps are up, within one.
        steps = np.floor(np.arange(self.num_pairs + 1) * self.same_class_ratio + phase)
        same = np.diff(steps) > 0
        own = start + _skip(uniform, size, self.place_in_class[anchors], np.minimum(size - 1, 1))
        other = _skip(uniform, N, start, size) if self.same_class_ratio < 1 else own
        return np.stack([anchors, self.by_class[np.where(same, own, other)]], axis=1)

    def __iter__(self) -> Iterator[SampleIndex]:
        for anchor, partner in self.pairs().tolist():
            yield SampleIndex(anchor, epoch=self.epoch)
            yield SampleIndex(partner, epoch=self.epoch, draw=anchor + 1)

    def __len__(self) -> int:
        """Images that this process sees in an epoch."""
        return 2 * self.num_pairs

    def set_epoch(self, epoch: int) -> None:
        """The epoch to draw; mmengine's loops call it."""
        self.epoch = epoch


def _skip(
    uniform: np.ndarray, total: int | np.ndarray, start: np.ndarray, length: int | np.ndarray
) -> np.ndarray:
    """Uniform [0, 1) to a uniform integer in [0, total) outside [start, start + length)."""
    drawn = (uniform * (total - length)).astype(np.int64)
    return drawn + np.where(drawn >= start, length, 0)


def dataset_labels(dataset: Sized) -> np.ndarray:
    """The class of every image of a data set, (N,), read without opening an image.

    Raises:
        DataError: The data set, through its wrappers, has no single label for each image.
    """
    inner = dataset
    while True:
        try:
            if hasattr(inner, 'get_gt_labels'):
                labels = np.asarray(inner.get_gt_labels())
            elif hasattr(inner, 'get_cat_ids'):
                labels = np.asarray([inner.get_cat_ids(i) for i in range(len(inner))])
                labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
            else:
                labels = None
        except (KeyError, AttributeError, NotImplementedError, TypeError, ValueError):
            labels = None  # a data set without annotations raises one or another of these
        if labels is not None and labels.shape == (len(dataset),):
            return labels
        inner = getattr(inner, 'dataset', None)
        if inner is None or len(inner) != len(dataset):
            raise DataError(
                f'same_class_ratio needs one class label for each image, and '
                f'{type(dataset).__name__} has none: use a data set with labels '
                '(with_label=True of a folder data set), pseudo_labels, or same_class_ratio=None.'
            )
