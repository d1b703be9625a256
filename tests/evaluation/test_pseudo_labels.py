"""Pseudo-classes from the features of a checkpoint."""

import hashlib

import numpy as np
from mmengine.registry import DefaultScope

from mixae.datasets.pair_sampler import PairSampler
from mixae.datasets.pseudo_labels import read_pseudo_labels
from mixae.evaluation.pseudo_labels import make_pseudo_labels
from mixae.registry import DATASETS


def test_pseudo_labels_from_a_checkpoint(trained, tmp_path):
    root, _, data = trained
    path, mae = tmp_path / 'pseudo.npz', root / 'mae.pth'
    sizes = make_pseudo_labels(data, str(mae), path, k=3, seed=1, device='cpu')
    labels, provenance = read_pseudo_labels(path)
    assert sum(sizes) == len(labels) == 16 and np.bincount(labels).tolist() == sizes
    assert provenance['checkpoint_sha256'] == hashlib.sha256(mae.read_bytes()).hexdigest()
    assert (provenance['k'], provenance['seed'], provenance['dataset']) == (3, 1, 'cifar10')
    again = tmp_path / 'again.npz'
    make_pseudo_labels(data, str(mae), again, k=3, seed=1, device='cpu')
    assert np.array_equal(read_pseudo_labels(again)[0], labels)
    # The pre-training's own data set is the same images, and takes the file.
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        train = DATASETS.build(data.train_features.dataset)
    PairSampler(train, same_class_ratio=0.5, pseudo_labels=str(path), seed=0)
