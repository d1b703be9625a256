"""Pseudo-classes from k-means, i-MAE's alternative to labels (Sec. 3.3), with their provenance."""

import hashlib
import json
from collections.abc import Sized
from pathlib import Path

import numpy as np

from mixae.errors import DataError
from mixae.files import replace_whole


def dataset_fingerprint(dataset: Sized) -> str:
    """SHA-256 over the order and identity of a data set's images, the same on every machine.

    An image is identified by the last two parts of its path (class folder and file name), or by
    its pixels where it is held in memory.

    Raises:
        DataError: A sample with neither.
    """
    digest = hashlib.sha256()
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        if 'img_path' in info:
            digest.update('/'.join(Path(info['img_path']).parts[-2:]).encode())
        elif isinstance(info.get('img'), np.ndarray):
            digest.update(np.ascontiguousarray(info['img']).tobytes())
        else:
            raise DataError(
                f'Sample {i} of {type(dataset).__name__} has neither img_path nor img: it cannot '
                'be told apart, so pseudo-labels cannot be tied to it.'
            )
        digest.update(b'\0')
    return digest.hexdigest()


def save_pseudo_labels(path: str | Path, labels_N: np.ndarray, provenance: dict) -> None:
    """Write labels and their provenance as one ``.npz`` without pickled objects.

    Args:
        path (str | Path): Where to.
        labels_N (ndarray): A pseudo-class for each image, in the order of the data set.
        provenance (dict): Plain values; ``dataset_sha256`` (:func:`dataset_fingerprint`) is what
            a load is checked against. The tool adds checkpoint, checkpoint_sha256,
            labels_in_pretraining, k, seed.

    Raises:
        ValueError: Without ``dataset_sha256``.
    """
    if 'dataset_sha256' not in provenance:
        raise ValueError('provenance needs dataset_sha256, the fingerprint of the data set.')
    with replace_whole(path) as draft, open(draft, 'wb') as file:  # a name stays as given
        np.savez_compressed(file, labels=labels_N, provenance=json.dumps(provenance))


def read_pseudo_labels(path: str | Path) -> tuple[np.ndarray, dict]:
    """Labels and provenance of a file of :func:`save_pseudo_labels`.

    Raises:
        DataError: No such file, or not one of them.
    """
    if not Path(path).is_file():
        raise DataError(
            f'There is no file of pseudo-labels at {path}: tools/datasets/make_pseudo_labels.py '
            'makes one from a checkpoint.'
        )
    try:
        with np.load(path, allow_pickle=False) as content:
            labels, provenance = content['labels'], json.loads(str(content['provenance']))
        if labels.ndim != 1 or labels.dtype.kind not in 'iu' or labels.min(initial=0) < 0:
            raise ValueError('its labels are not whole numbers from 0')
        provenance['dataset_sha256']
        return labels, provenance
    except Exception as error:
        raise DataError(
            f'{path} is no file of pseudo-labels as tools/datasets/make_pseudo_labels.py writes '
            f'them ({error}).'
        ) from error


def load_pseudo_labels(path: str | Path, dataset: Sized) -> tuple[np.ndarray, dict]:
    """The pseudo-classes of ``dataset``, (N,), and their provenance.

    Raises:
        DataError: As :func:`read_pseudo_labels`, or labels that were made for other images.
    """
    labels, provenance = read_pseudo_labels(path)
    if len(labels) != len(dataset):
        raise DataError(
            f'{path} holds pseudo-labels of {len(labels)} images, the data set has '
            f'{len(dataset)}: make them for this data set.'
        )
    if provenance['dataset_sha256'] != dataset_fingerprint(dataset):
        raise DataError(
            f'{path} was made for other images, or for these in another order (made from '
            f'{provenance.get("dataset", "an unnamed data set")}): make them for this data set.'
        )
    return labels, provenance
