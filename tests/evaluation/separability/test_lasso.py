"""The lasso from moments and the scores, against scikit-learn on the full data."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso
from sklearn.metrics import r2_score
from sklearn.metrics.pairwise import cosine_similarity
from torch import nn

from mixae.errors import MixaeError
from mixae.evaluation.separability.lasso import Moments, RegressionScores, fit_lasso


def data(rows=400, width=7, outputs=3, seed=0, offset=5.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, width)) @ rng.normal(size=(width, width)) + offset
    y = x[:, :outputs] ** 2 / 4 + x @ rng.normal(size=(width, outputs)) + rng.normal(size=outputs)
    return x, y


def moments_of(x, y, batch):
    moments = Moments()
    for start in range(0, len(x), batch):
        moments.update(
            torch.from_numpy(x[start : start + batch]), torch.from_numpy(y[start : start + batch])
        )
    return moments


@pytest.mark.parametrize('alpha', [0.001, 0.1, 2.0])
@pytest.mark.parametrize('batch', [1, 37, 400])
def test_lasso_from_moments_is_scikit_learns_on_all_rows(alpha, batch):
    x, y = data()
    ours = fit_lasso(moments_of(x, y, batch), alpha, max_iter=100000, tol=1e-12)
    theirs = Lasso(alpha, max_iter=100000, tol=1e-12).fit(x, y)
    assert ours.unconverged == 0
    np.testing.assert_allclose(ours.weight_DK.numpy(), theirs.coef_.T, atol=1e-6)
    np.testing.assert_allclose(ours.bias_K.numpy(), theirs.intercept_, atol=1e-5)
    if alpha == 2.0:
        assert (theirs.coef_ == 0).any()
        assert ((ours.weight_DK.numpy().T == 0) == (theirs.coef_ == 0)).all()


def test_lasso_where_features_lie_in_a_hyperplane_as_after_a_layernorm():
    x, y = data(width=8)
    x = nn.LayerNorm(8)(torch.from_numpy(x).float()).double().detach().numpy()
    x -= x.mean(axis=1, keepdims=True)
    assert np.linalg.matrix_rank(x) == 7
    ours = fit_lasso(moments_of(x, y, 64), 0.01, max_iter=200000, tol=1e-13)
    theirs = Lasso(0.01, max_iter=200000, tol=1e-13).fit(x, y)
    np.testing.assert_allclose(ours(torch.from_numpy(x)), theirs.predict(x), atol=1e-4)


def test_moments_keep_their_digits_far_from_zero():
    x, y = data(offset=1e7)
    moments = moments_of(x, y, 32)
    centred = x - x.mean(axis=0)
    np.testing.assert_allclose(moments.xx_DD.numpy(), centred.T @ centred, rtol=1e-7)


def test_an_early_stop_of_the_lasso_is_counted():
    x, y = data()
    assert fit_lasso(moments_of(x, y, 400), 0.001, max_iter=1).unconverged == 3


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 50),
    outputs=st.integers(1, 4),
    constant=st.booleans(),
)
def test_scores_are_scikit_learns(seed, batch, outputs, constant):
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(50, outputs)) * rng.uniform(0.1, 3, outputs) + rng.normal(
        size=outputs
    )
    guess = target + rng.normal(size=target.shape)
    if constant:
        target[:, 0] = 1.5
    values = dict(
        rms=np.sqrt((target**2).mean()),
        range=np.ptp(target),
        std=target.std(),
        mean=abs(target.mean()),
    )
    for normalizer, norm in values.items():
        scores = RegressionScores(normalizer)
        for start in range(0, 50, batch):
            scores.update(*(torch.from_numpy(a[start : start + batch]) for a in (guess, target)))
        found = scores.compute()
        assert found['nrmse'] == pytest.approx(np.sqrt(((guess - target) ** 2).mean()) / norm)
        assert found['r2'] == pytest.approx(r2_score(target, guess))
        cosines = np.diag(cosine_similarity(guess, target))
        assert found['cosine'] == pytest.approx(cosines.mean())


def test_scores_of_exact_and_zero_predictions():
    target = torch.randn(9, 4, dtype=torch.float64)
    scores = RegressionScores()
    scores.update(target, target)
    assert scores.compute() == pytest.approx(dict(nrmse=0.0, r2=1.0, cosine=1.0))
    scores = RegressionScores()
    scores.update(torch.zeros_like(target), target)
    assert scores.compute()['nrmse'] == pytest.approx(1.0) and scores.compute()['cosine'] == 0.0


def test_features_that_are_not_finite_stop_the_fit():
    moments = Moments()
    moments.update(torch.tensor([[1.0, float('nan')]]), torch.ones(1, 1))
    with pytest.raises(MixaeError, match='not finite'):
        fit_lasso(moments, 0.1)
