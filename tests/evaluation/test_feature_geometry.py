"""Effective rank, CKA and neighbours where the answer is known, and from a config."""

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mixae.errors import ConfigError, DataError
from mixae.evaluation.feature_geometry import (
    Nearest,
    all_layers,
    check_labels,
    effective_rank,
    feature_geometry,
    format_table,
    linear_cka,
    small_weights,
)
from mixae.models import MaskedViT
from mixae.results.record import read_records
from mixae.visualization.features import draw_cka, draw_embeddings, embed


@pytest.mark.parametrize('variances, rank', [([1] * 5, 5), ([1, 0, 0, 0], 1), ([2, 2, 0], 2)])
def test_effective_rank_of_equal_directions_is_their_number(variances, rank):
    rotation = torch.linalg.qr(torch.randn(len(variances), len(variances)))[0]
    covariance = rotation @ torch.diag(torch.tensor(variances).float()) @ rotation.T
    assert effective_rank(covariance.double()) == pytest.approx(rank, rel=1e-4)


def test_effective_rank_is_the_exponential_of_scipys_entropy():
    from scipy.stats import entropy

    values = np.array([5.0, 2.0, 0.5, 0.1])
    assert effective_rank(torch.diag(torch.from_numpy(values))) == pytest.approx(
        np.exp(entropy(values / values.sum()))
    )
    with pytest.raises(DataError, match='no rank'):
        effective_rank(torch.zeros(3, 3))


def test_cka_is_that_of_the_gram_matrices():
    """Kornblith et al. 2019: the HSIC of linear kernels, by (N, N) matrices."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 6))
    y = x @ rng.normal(size=(6, 4)) + rng.normal(size=(50, 4))
    centre = np.eye(50) - 1 / 50
    one, other = (centre @ z @ z.T @ centre for z in (x, y))
    expected = (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other)
    covariance = torch.from_numpy(np.cov(np.concatenate([x, y], axis=1).T))
    a, b = slice(0, 6), slice(6, 10)
    assert linear_cka(covariance, a, b) == pytest.approx(expected)
    rotated = np.concatenate([x, 3 * x @ np.linalg.qr(rng.normal(size=(6, 6)))[0]], axis=1)
    same = linear_cka(torch.from_numpy(np.cov(rotated.T)), a, slice(6, 12))
    assert same == pytest.approx(1)


def test_neighbours_batch_by_batch_are_scikit_learns():
    from sklearn.neighbors import NearestNeighbors

    rng = torch.Generator().manual_seed(0)
    features = torch.randn(60, 8, generator=rng)
    nearest = Nearest(features[[3, 40]], 5)
    for batch in features.split(13):
        nearest.update(batch)
    reference = NearestNeighbors(n_neighbors=5, metric='cosine').fit(features.numpy())
    assert nearest.index.tolist() == reference.kneighbors(features[[3, 40]].numpy())[1].tolist()


def test_classes_apart_are_apart_in_both_embeddings():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    points = rng.normal(size=(60, 10)) + 20 * labels[:, None]
    for found in embed(points).values():
        means = [found[labels == i].mean(axis=0) for i in (0, 1)]
        spread = max(found[labels == i].std() for i in (0, 1))
        assert np.linalg.norm(means[0] - means[1]) > 2 * spread
    with pytest.raises(DataError, match='5 images are too few'):
        embed(points[:5])


@pytest.fixture
def digits():
    config = Config.fromfile('configs/transfer/digit_scenes/vitmini_linear.py')
    config.model.backbone.arch = dict(
        embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=16
    )
    config.test_dataloader.dataset.subset = 30
    config.test_dataloader.update(batch_size=12, num_workers=0)
    return config


def test_encoders_layer_by_layer_with_records(digits, tmp_path):
    found = feature_geometry(
        digits, {'a': 'scratch', 'b': 'scratch'}, points=20, queries=2, neighbours=3, folder=None
    )
    assert found.names == ['a, layer 0', 'a, layer 1', 'b, layer 0', 'b, layer 1']
    assert np.allclose(found.cka[:2, :2], found.cka[2:, 2:])
    assert np.allclose(np.diag(found.cka[:2, 2:]), 1)  # the same random weights
    assert all(1 <= rank <= 8 for rank in found.ranks)
    assert found.points['a'].shape == (20, 8) and len(found.labels) == 20
    assert found.neighbours['a'].shape == (2, 4)
    assert all(row[0] not in row[1:] for row in found.neighbours['a'])
    assert '| b, layer 1 |' in format_table(found)
    feature_geometry(digits, {'a': 'scratch'}, points=8, folder=tmp_path)
    (record,) = read_records([tmp_path])
    assert record['task'] == 'features' and record['metrics']['cka_to_last/layer 1']['value'] == 1
    draw_cka(found.names, found.cka)
    draw_embeddings(found.points, found.labels, [str(i) for i in range(10)])


def test_attention_that_looks_everywhere_has_the_entropy_of_all_patches():
    encoder = MaskedViT(
        arch=dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=16),
        img_size=32,
        patch_size=8,
        out_type='raw',
    )
    images = torch.randn(3, 3, 32, 32)
    attn = encoder.layers[-1].attn
    torch.nn.init.zeros_(attn.qkv.weight)
    pooled, entropy = all_layers(encoder, images, 'avg')
    assert torch.allclose(entropy, torch.full((3,), 16.0).log())
    assert torch.allclose(pooled[-1], encoder.features(images)[-1][:, 1:].mean(dim=1))
    for module in encoder.layers.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.constant_(module.weight, 0.02)
    torch.nn.init.constant_(attn.proj.weight, -0.005)
    linears = [m for m in encoder.layers.modules() if isinstance(m, torch.nn.Linear)]
    share = attn.proj.weight.numel() / sum(m.weight.numel() for m in linears)
    assert small_weights(encoder) == pytest.approx(share)


def test_too_few_images_are_refused(digits):
    digits.test_dataloader.dataset.subset = 12
    with pytest.raises(DataError, match='12 images are too few for features of width 8'):
        feature_geometry(digits, {'a': 'scratch'})
    with pytest.raises(ConfigError, match='expected 2 different ones'):
        check_labels(['x'], ['a.pth', 'b.pth'])
