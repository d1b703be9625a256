"""kNN and linear probe against scikit-learn."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from mixae.engine.hooks.provenance import describe_length
from mixae.errors import ConfigError, DataError
from mixae.evaluation import knn
from mixae.evaluation.knn import WeightedKNN
from mixae.evaluation.probes import LinearProbe


@pytest.fixture(scope='module')
def digits():
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        x.astype(np.float32), y, test_size=500, random_state=0, stratify=y
    )
    return x_train, y_train, x_test, y_test


@pytest.mark.parametrize('k, temperature', [(1, 0.07), (20, 0.07), (20, 1.0), (200, 0.2)])
def test_knn_votes_as_scikit_learns(digits, k, temperature):
    x_train, y_train, x_test, _ = digits
    theirs = KNeighborsClassifier(
        k,
        metric='cosine',
        algorithm='brute',
        # A common factor cancels in scikit-learn's shares, and keeps exp in range.
        weights=lambda distance: np.exp(-distance / temperature),
    ).fit(x_train, y_train)
    scores = WeightedKNN(k, temperature)(x_train, y_train, x_test, 10)
    shares = scores.softmax(dim=1).numpy()  # scores are logarithms
    np.testing.assert_allclose(shares, theirs.predict_proba(x_test), atol=2e-3)


def test_knn_at_a_temperature_where_votes_leave_the_range_of_floats(digits):
    """exp(1 / 0.002) is infinite: all classes among the neighbours would tie."""
    x_train, y_train, x_test, y_test = digits
    cold, one = (WeightedKNN(k, temperature=0.002)(x_train, y_train, x_test, 10) for k in (20, 1))
    assert (cold.isfinite() | cold.eq(-np.inf)).all()
    # The nearest decides where it is nearer than another by a few temperatures.
    assert (cold.argmax(dim=1) == one.argmax(dim=1)).float().mean() > 0.97
    assert accuracy(cold, y_test) > 0.95


def test_a_class_without_a_vote_is_no_guess(digits):
    x_train, y_train, x_test, _ = digits
    scores = WeightedKNN(20)(x_train, y_train, x_test, 10)
    nearest = NearestNeighbors(n_neighbors=20, metric='cosine').fit(x_train)
    voted = np.zeros((len(x_test), 10), bool)
    for i, index in enumerate(nearest.kneighbors(x_test, return_distance=False)):
        voted[i, y_train[index]] = True
    assert 0.1 < voted.mean() < 0.5
    assert ((scores > -np.inf).numpy() == voted).mean() > 0.999  # the 20th may tie


def test_knn_with_fewer_images_than_neighbours_uses_all(digits):
    x_train, y_train, x_test, _ = digits
    few = WeightedKNN(500)(x_train[:30], y_train[:30], x_test, 10)
    assert torch.equal(few, WeightedKNN(30)(x_train[:30], y_train[:30], x_test, 10))


@pytest.mark.parametrize('k', [1, 20])
def test_whitened_neighbours_are_those_of_scikit_learns_whitened_components(digits, k):
    x_train, y_train, x_test, y_test = digits
    # A pixel of large variance that says nothing, and one that is always the same.
    noise = np.random.default_rng(0).normal(0, 200, (len(x_train) + len(x_test), 1))
    flat = np.ones_like(noise)
    noisy = np.hstack([np.vstack([x_train, x_test]), noise, flat]).astype(np.float32)
    train, test = noisy[: len(x_train)], noisy[len(x_train) :]
    pca = PCA(whiten=True).fit(train)
    kept = pca.explained_variance_ > 1e-6 * pca.explained_variance_[0]
    white = [pca.transform(x)[:, kept].astype(np.float32) for x in (train, test)]
    theirs = WeightedKNN(k)(white[0], y_train, white[1], 10)
    ours = WeightedKNN(k, whiten=True)(train, y_train, test, 10)
    assert (ours.argmax(dim=1) == theirs.argmax(dim=1)).float().mean() > 0.995
    plain = WeightedKNN(k)(train, y_train, test, 10)
    assert accuracy(ours, y_test) > accuracy(plain, y_test) + 0.03


def test_knn_ignores_the_length_of_features(digits):
    x_train, y_train, x_test, _ = digits
    scale = np.linspace(0.1, 9, len(x_train), dtype=np.float32)[:, None]
    a, b = (WeightedKNN()(x, y_train, x_test, 10) for x in (x_train, x_train * scale))
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def dense_scores(x_train, y_train, x_test, k, temperature):
    """The votes of a dense matrix of all similarities and a one-hot of all labels."""
    train, test = (torch.nn.functional.normalize(torch.from_numpy(x)) for x in (x_train, x_test))
    similarity, index = (test @ train.T).topk(k)
    onehot = torch.nn.functional.one_hot(torch.from_numpy(y_train), 10).bool()
    votes = torch.where(onehot[index], similarity[..., None] / temperature, -torch.inf)
    return votes.logsumexp(dim=1)


def test_knn_in_chunks_is_that_of_the_dense_matrix(digits, monkeypatch):
    """Chunks of the training images smaller than k, one of them not full."""
    x_train, y_train, x_test, _ = digits
    monkeypatch.setattr(knn, '_TRAIN_CHUNK', 13)
    monkeypatch.setattr(knn, '_TEST_CHUNK', 170)
    probe = WeightedKNN(k=[20, 5], temperature=[0.07, 0.002])
    found = dict(probe.settings(x_train, y_train, x_test, 10))
    assert list(found) == ['k20_t0.07', 'k20_t0.002', 'k5_t0.07', 'k5_t0.002']
    for name, scores in found.items():
        k, temperature = (float(x[1:]) for x in name.split('_'))
        expected = dense_scores(x_train, y_train, x_test, int(k), temperature)
        torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize('options', [dict(k=[]), dict(k=[20, 0]), dict(k=0), dict(temperature=0)])
def test_knn_names_impossible_options(options):
    with pytest.raises(ConfigError, match='must be positive'):
        WeightedKNN(**options)


def accuracy(scores, labels):
    return float((scores.argmax(dim=1).numpy() == labels).mean())


def test_linear_probe_is_as_good_as_logistic_regression(digits):
    x_train, y_train, x_test, y_test = digits
    scaler = StandardScaler().fit(x_train)
    theirs = LogisticRegression(max_iter=1000, C=10).fit(scaler.transform(x_train), y_train)
    expected = theirs.score(scaler.transform(x_test), y_test)
    scores = LinearProbe(epochs=40, warmup_epochs=4)(x_train, y_train, x_test, 10)
    assert accuracy(scores, y_test) == pytest.approx(expected, abs=0.02)
    assert expected > 0.94


def test_linear_probe_is_linear_in_the_features(digits):
    """A classifier that a linear one cannot be would break the protocol."""
    x_train, y_train, _, _ = digits
    a, b = torch.randn(2, 64, generator=torch.Generator().manual_seed(0)).numpy()
    probe = LinearProbe(epochs=2, warmup_epochs=1)
    scores = probe(x_train, y_train, np.stack([a, b, (a + b) / 2]), 10)
    torch.testing.assert_close(scores[2], scores[:2].mean(dim=0), rtol=1e-4, atol=1e-4)


def test_linear_probe_does_not_see_the_scale_of_features(digits):
    """BatchNorm without affine: two methods are compared at any scale of their features."""
    _, y_train, _, _ = digits
    rng = np.random.default_rng(0)
    x_train, x_test = (rng.normal(size=(n, 64)).astype(np.float32) for n in (len(y_train), 50))
    scale, shift = np.float32(7.0), np.float32(3.0)
    probe = LinearProbe(epochs=30, warmup_epochs=1)  # running statistics have settled
    a = probe(x_train, y_train, x_test, 10)
    b = probe(x_train * scale + shift, y_train, x_test * scale + shift, 10)
    torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-2)


def test_linear_probe_repeats_by_seed_alone(digits):
    x_train, y_train, x_test, _ = digits
    runs = []
    for global_seed, seed in ((0, 0), (1, 0), (1, 1)):
        torch.manual_seed(global_seed)
        probe = LinearProbe(epochs=2, warmup_epochs=0, seed=seed)
        runs.append(probe(x_train, y_train, x_test, 10))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[1], runs[2])


def test_linear_probe_on_fewer_images_than_a_batch(digits):
    x_train, y_train, x_test, y_test = digits
    scores = LinearProbe(epochs=60, warmup_epochs=0)(x_train[:200], y_train[:200], x_test, 10)
    assert accuracy(scores, y_test) > 0.8


@pytest.mark.parametrize('warmup', [-1, 10, 11])
def test_linear_probe_names_an_impossible_warm_up(warmup):
    with pytest.raises(ConfigError, match=f'warmup_epochs={warmup}'):
        LinearProbe(epochs=10, warmup_epochs=warmup)


@pytest.mark.parametrize('k', [20, 10_000, [20, 100]])
def test_the_name_of_the_protocol_follows_from_k(k):
    cfg = Config.fromfile('configs/transfer/cifar/cifar10_vitt_knn.py')
    cfg.test_cfg.probe.k = k
    assert (
        f'{cfg.protocol.name}-{describe_length(cfg)}'
        == f'weighted-knn-{k if isinstance(k, int) else k[0]}'
    )


def test_linear_probe_of_one_image_says_what_it_needs(digits):
    x_train, y_train, x_test, _ = digits
    with pytest.raises(DataError, match='1 training image'):
        LinearProbe()(x_train[:1], y_train[:1], x_test, 10)
