"""Pseudo-classes from k-means on the features of a checkpoint (i-MAE, Sec. 3.3)."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from sklearn.cluster import KMeans, MiniBatchKMeans

from mixae.checkpoints.account import read_origin
from mixae.checkpoints.load import load_encoder
from mixae.datasets.pseudo_labels import dataset_fingerprint, save_pseudo_labels
from mixae.derive import derive
from mixae.derive.values import check_seed
from mixae.errors import ConfigError, DataError, describe_error
from mixae.evaluation.features import check_pool, extract_features
from mixae.files import check_output, file_sha256
from mixae.registry import MODELS


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
        DataError: k outside [2, N], or features that are not finite.
    """
    check_classes(k, len(features_ND))
    if not np.isfinite(features_ND).all():
        raise DataError('The features are not finite: the checkpoint is broken.')
    if mini_batch is None:
        model = KMeans(k, n_init=10, random_state=seed)
    else:
        model = MiniBatchKMeans(k, n_init=10, random_state=seed, batch_size=mini_batch)
    return model.fit_predict(features_ND).astype(np.int32)


def check_classes(k: int, num_images: int) -> None:
    """Raise DataError where k pseudo-classes of so many images cannot be."""
    if not 2 <= k <= num_images:
        raise DataError(
            f'k={k} pseudo-classes of {num_images} images: choose k from 2 to the number of images.'
        )


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
        ConfigError: A config without ``train_features``; a seed, a mini-batch or a device that is
            none.
        OutputError: The file cannot be written.
        CheckpointError: A checkpoint that does not fit the config.
    """
    check_output(path, ('.npz',))
    check_seed(seed)
    if mini_batch is not None and mini_batch < 1:
        raise ConfigError(f'mini_batch={mini_batch}: expected 1 row or more.')
    try:
        device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f'device={device}: {describe_error(error)}.') from error
    config = config.copy()
    config.pretrained = 'scratch'  # loaded and checked below
    config = derive(config)[0]
    if not config.get('train_features'):
        raise ConfigError(
            f'{config.filename} has no train_features: give the config of a kNN or linear probe '
            'on frozen features.'
        )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(config.model)
        loader = Runner.build_dataloader(config.train_features, seed=seed)
    check_classes(k, len(loader.dataset))
    pool = (config.get('test_cfg') or {}).get('pool', 'avg')
    check_pool(pool)
    load_encoder(model.backbone, checkpoint)
    features_ND, _ = extract_features(model.to(device), loader, pool)
    labels_N = cluster(features_ND, k, seed, mini_batch)
    provenance = dict(
        dataset=(config.get('data_about') or {}).get('name'),
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
