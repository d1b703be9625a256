"""Pseudo-classes from k-means, i-MAE's alternative to labels (Sec. 3.3), with their provenance."""

import hashlib
import json
from collections.abc import Sized
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from sklearn.cluster import KMeans, MiniBatchKMeans

from mixae.datasets.seeded import DataError
from mixae.leaderboard.record import file_sha256


def cluster(
    features_ND: np.ndarray, k: int, seed: int = 0, mini_batch: int | None = None
) -> np.ndarray:
    """k-means cluster of each row, (N,) int32 (scikit-learn).

    Args:
        features_ND (ndarray): Features of N images.
        k (int): Number of pseudo-classes, in [2, N].
        seed (int): Of the initialisation. Defaults to 0.
        mini_batch (int, optional): Rows a step of mini-batch k-means, for sets that are too large
            for full steps. Defaults to None, full k-means.

    Raises:
        DataError: k outside [2, N].
    """
    if not 2 <= k <= len(features_ND):
        raise DataError(
            f'k={k} pseudo-classes of {len(features_ND)} images: choose k from 2 to the number of '
            'images.'
        )
    if mini_batch is None:
        model = KMeans(k, n_init=10, random_state=seed)
    else:
        model = MiniBatchKMeans(k, n_init=10, random_state=seed, batch_size=mini_batch)
    return model.fit_predict(features_ND).astype(np.int32)


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
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'wb') as file:  # a name without .npz stays as given
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
            return content['labels'], json.loads(str(content['provenance']))
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


def make_pseudo_labels(
    config: Config,
    checkpoint: str,
    path: str | Path,
    *,
    k: int,
    seed: int = 0,
    mini_batch: int | None = None,
    device: str | None = None,
) -> list[int]:
    """Cluster the training split of a frozen-feature config, and store labels and provenance.

    Args:
        config (Config): Of a kNN or linear probe: ``train_features`` is what is clustered, and
            ``test_cfg.pool`` how its tokens are pooled.
        checkpoint (str): A pre-training checkpoint.
        path (str | Path): The file to write.
        k (int): Number of pseudo-classes.
        seed (int): Of k-means. Defaults to 0.
        mini_batch (int, optional): See :func:`cluster`.
        device (str, optional): Defaults to the GPU where there is one.

    Returns:
        list[int]: Images in each pseudo-class.

    Raises:
        DataError: k outside [2, N].
        ConfigError: A config without ``train_features``.
        CheckpointError: A checkpoint that does not fit the config.
    """
    # Models and evaluation import the data sets, not the other way round, but for this tool.
    from mixae.engine.hooks.provenance import read_origin
    from mixae.engine.pretrained import load_encoder
    from mixae.engine.resolve import ConfigError, resolve
    from mixae.evaluation.features import extract_features
    from mixae.registry import MODELS

    config = config.copy()
    config.pretrained = 'scratch'  # loaded and checked below
    config = resolve(config)[0]
    if not config.get('train_features'):
        raise ConfigError(
            f'{config.filename} has no train_features: give the config of a kNN or linear probe '
            'on frozen features.'
        )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(config.model)
        loader = Runner.build_dataloader(config.train_features, seed=seed)
    load_encoder(model.backbone, checkpoint)
    model = model.to(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    features_ND, _ = extract_features(
        model, loader, (config.get('test_cfg') or {}).get('pool', 'avg')
    )
    labels_N = cluster(features_ND, k, seed, mini_batch)
    provenance = dict(
        dataset=config.get('data_about', {}).get('name'),
        dataset_sha256=dataset_fingerprint(loader.dataset),
        checkpoint=Path(checkpoint).name,
        checkpoint_sha256=file_sha256(checkpoint),
        # Classes that were found with labels' help are no label-free alternative.
        labels_in_pretraining=read_origin(checkpoint)['pretraining']['labels_in_pretraining'],
        k=k,
        seed=seed,
        mini_batch=mini_batch,
        config=Path(config.filename).name if config.filename else None,
    )
    save_pseudo_labels(path, labels_N, provenance)
    return np.bincount(labels_N, minlength=k).tolist()
