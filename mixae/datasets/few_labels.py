"""Which images of a data set are used where few labels are."""

from pathlib import Path

import numpy as np

from mixae.errors import DataError


def labels_of(dataset) -> np.ndarray:
    """The label of each image, (n,) int.

    Raises:
        DataError: There are none, or an image has several.
    """
    found = []
    for index in range(len(dataset)):
        label = dataset.get_data_info(index).get('gt_label')
        if not isinstance(label, int | np.integer):
            told = 'no label' if label is None else f'the label {label!r}'
            raise DataError(
                f'{type(dataset).__name__}: image {index} has {told}; shots and held-out parts are '
                'drawn per class: read the data set with one label per image (with_label=True).'
            )
        found.append(int(label))
    return np.array(found)


def draw_shots(labels_n: np.ndarray, shots: int, seed: int) -> np.ndarray:
    """Sorted indices of ``shots`` images of each class; a class's depend on it and the seed alone.

    Raises:
        DataError: A class of fewer images, or a number of shots below 1; names the smallest class.
    """
    classes, counts = np.unique(labels_n, return_counts=True)
    if shots < 1 or counts.min() < shots:
        smallest = classes[counts.argmin()]
        raise DataError(
            f'shots={shots}: expected 1 to {counts.min()}, the images of class {smallest}, which '
            'has the fewest.'
        )
    chosen = []
    for label in classes:
        (own,) = np.nonzero(labels_n == label)
        # RandomState: its draws are the same in every version of NumPy.
        chosen.append(np.random.RandomState([seed, label]).permutation(own)[:shots])
    return np.sort(np.concatenate(chosen))


def find_listed(dataset, path: str | Path) -> np.ndarray:
    """Indices of the images that a text file names, in the data set's order.

    Raises:
        DataError: The file cannot be read, is empty, or names images that there are not, or more
            than once.
    """
    try:
        names = Path(path).read_text(encoding='utf-8').split('\n')
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or 'it is no text'
        raise DataError(f'files={str(path)!r} cannot be read: {reason}.') from error
    names = [name.strip() for name in names if name.strip()]
    wanted = {tuple(reversed(Path(name).parts)): name for name in names}
    if not wanted or len(wanted) < len(names):
        problem = 'names no image' if not wanted else 'names an image more than once'
        raise DataError(f'files={str(path)!r} {problem}: expected one image a line.')
    depths = sorted({len(parts) for parts in wanted})
    found: dict[tuple, int] = {}
    for index in range(len(dataset)):
        parts = tuple(reversed(Path(dataset.get_data_info(index)['img_path']).parts))
        for depth in depths:
            if (key := parts[:depth]) in wanted:
                if key in found:
                    raise DataError(
                        f'files={str(path)!r} names {wanted[key]}, and the data set has several: '
                        'write as much of their paths as tells them apart.'
                    )
                found[key] = index
    missing = [name for parts, name in wanted.items() if parts not in found]
    if missing:
        raise DataError(
            f'files={str(path)!r} names {len(missing)} of {len(names)} images that the data set '
            f'does not have, such as {missing[0]}. Correct data_root, or take the list of this set.'
        )
    return np.array(sorted(found.values()))
