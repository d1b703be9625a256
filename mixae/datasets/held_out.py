"""A part of a training set held out, on which what the test set must not decide is chosen."""

import numpy as np

from mixae.errors import DataError


def hold_out(labels_N: np.ndarray, share: float) -> np.ndarray:
    """Which images are held out, (N,) bool: the share of every class, one image at least.

    Args:
        labels_N (np.ndarray): Classes of N images.
        share (float): Of every class, in (0, 1).

    Raises:
        DataError: A share outside (0, 1), no image, or a class of a single image, which cannot be
            both trained on and held out.
    """
    if not 0 < share < 1:
        raise DataError(f'hold_out={share}: expected a share of every class, between 0 and 1.')
    classes, counts = np.unique(labels_N, return_counts=True)
    if not len(classes):
        raise DataError('There is no training image to hold a part out of.')
    if counts.min() < 2:
        raise DataError(
            f'{int((counts < 2).sum())} of {len(classes)} classes have 1 image, the first is class '
            f'{classes[counts.argmin()]}: holding one out leaves none to train on. Give 2 images '
            'per class or more, or choose a protocol without a choice (linear, kNN).'
        )
    rng, held = np.random.default_rng(0), np.zeros(len(labels_N), bool)
    for label, count in zip(classes, counts, strict=True):
        chosen = min(max(1, round(share * count)), count - 1)
        held[rng.permutation(np.flatnonzero(labels_N == label))[:chosen]] = True
    return held
