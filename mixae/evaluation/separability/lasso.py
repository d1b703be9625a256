"""A lasso in constant memory, and the scores of its predictions.

Shape legend: N rows (patch tokens), D inputs (the encoder's width), K outputs (the teacher's).
"""

import warnings
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso
from torch import Tensor

from mixae.errors import ConfigError, NotFiniteError

NORMALIZERS = ('rms', 'range', 'std', 'mean')


class Moments:
    """Centred X'X and X'y of any number of batches, in float64 and constant memory.

    Batches are merged by their means (Chan et al. 1979), so that a mean far from zero costs no
    digits.
    """

    def __init__(self) -> None:
        self.count = 0

    def update(self, x_ND: Tensor, y_NK: Tensor) -> None:
        """Take in a batch of rows."""
        x_ND, y_NK = x_ND.double(), y_NK.double()
        rows = len(x_ND)
        mean_x_D, mean_y_K = x_ND.mean(dim=0), y_NK.mean(dim=0)
        x_ND, y_NK = x_ND - mean_x_D, y_NK - mean_y_K
        xx_DD, xy_DK = x_ND.T @ x_ND, x_ND.T @ y_NK
        if self.count == 0:
            self.mean_x_D, self.mean_y_K, self.xx_DD, self.xy_DK = mean_x_D, mean_y_K, xx_DD, xy_DK
        else:
            total = self.count + rows
            delta_x_D, delta_y_K = mean_x_D - self.mean_x_D, mean_y_K - self.mean_y_K
            between = self.count * rows / total
            self.xx_DD += xx_DD + between * torch.outer(delta_x_D, delta_x_D)
            self.xy_DK += xy_DK + between * torch.outer(delta_x_D, delta_y_K)
            self.mean_x_D += delta_x_D * rows / total
            self.mean_y_K += delta_y_K * rows / total
        self.count += rows


class LinearRegressor(NamedTuple):
    """y = x W + b in float64; ``unconverged`` outputs stopped at the iteration limit."""

    weight_DK: Tensor
    bias_K: Tensor
    unconverged: int

    def __call__(self, x_ND: Tensor) -> Tensor:
        return x_ND.double() @ self.weight_DK + self.bias_K


def fit_lasso(
    moments: Moments, alpha: float, max_iter: int = 5000, tol: float = 1e-4
) -> LinearRegressor:
    """scikit-learn's ``Lasso(alpha)`` with an intercept, exactly, from the moments alone.

    With X'X = R'R and R'z = X'y, |y - Xw|^2 = |z - Rw|^2 + a constant, and scikit-learn divides
    the squares by the number of rows: so ``Lasso(alpha * n / d, fit_intercept=False)`` on the d
    rows of (R, z) has the solution of the n rows of (X, y). R comes from the eigenvectors of X'X,
    since features after a LayerNorm lie in a hyperplane and Cholesky's factor does not exist.

    Args:
        moments (Moments): Of the training features and targets.
        alpha (float): The l1 strength, as scikit-learn counts it, not negative.
        max_iter (int): Of the coordinate descent. Defaults to 5000.
        tol (float): Of the coordinate descent, scikit-learn's. Defaults to 1e-4.

    Raises:
        NotFiniteError: Features that are not finite.
    """
    if not (moments.xx_DD.isfinite().all() and moments.xy_DK.isfinite().all()):
        raise NotFiniteError('The training features are not finite: a checkpoint is broken.')
    d = len(moments.xx_DD)
    values_D, vectors_DD = torch.linalg.eigh(moments.xx_DD)
    kept_D = values_D > values_D[-1].clamp(min=0) * d * torch.finfo(torch.float64).eps
    scale_D = values_D.clamp(min=0).sqrt() * kept_D
    inverse_D = torch.where(kept_D, 1 / scale_D, 0.0)
    R_DD = scale_D[:, None] * vectors_DD.T
    z_DK = inverse_D[:, None] * (vectors_DD.T @ moments.xy_DK)
    lasso = Lasso(alpha * moments.count / d, fit_intercept=False, max_iter=max_iter, tol=tol)
    with warnings.catch_warnings():
        # Counted in `unconverged` instead of one warning for each of the K outputs.
        warnings.simplefilter('ignore', ConvergenceWarning)
        warnings.filterwarnings('ignore', message='.*alpha=0.*')
        lasso.fit(R_DD.cpu().numpy(), z_DK.cpu().numpy())
    weight_DK = torch.from_numpy(np.atleast_2d(lasso.coef_).T.copy()).to(moments.mean_x_D)
    bias_K = moments.mean_y_K - moments.mean_x_D @ weight_DK
    return LinearRegressor(weight_DK, bias_K, int((np.asarray(lasso.n_iter_) >= max_iter).sum()))


class RegressionScores:
    """NRMSE, R^2 and cosine of predictions against targets, batch by batch.

    R^2 is the mean over the K outputs, scikit-learn's 'uniform_average' **(ours: the paper does
    not say)**.

    Args:
        normalizer (str): What the root mean square error is divided by: the 'rms', 'range', 'std'
            or absolute 'mean' of all target values **(ours)**. The paper does not say, and none
            of them fits NRMSE, R^2 and cosine of its Table 4 at once: compare NRMSE among measured
            rows only. Defaults to 'rms'.

    Raises:
        ConfigError: An unknown normalizer.
    """

    def __init__(self, normalizer: str = 'rms') -> None:
        if normalizer not in NORMALIZERS:
            raise ConfigError(f'normalizer={normalizer!r}: choose one of {", ".join(NORMALIZERS)}.')
        self.normalizer = normalizer
        self.count = 0
        self.error_K = self.cosine = 0.0

    def update(self, prediction_NK: Tensor, target_NK: Tensor) -> None:
        """Take in a batch of rows, each the features of one patch."""
        prediction_NK, target_NK = prediction_NK.double(), target_NK.double()
        rows = len(target_NK)
        self.error_K = self.error_K + (prediction_NK - target_NK).square().sum(dim=0)
        cosine_N = F.cosine_similarity(prediction_NK, target_NK, dim=1, eps=1e-300)
        self.cosine = self.cosine + cosine_N.sum()
        mean_K = target_NK.mean(dim=0)
        spread_K = (target_NK - mean_K).square().sum(dim=0)
        low, high = target_NK.min(), target_NK.max()
        if self.count == 0:
            self.mean_K, self.spread_K, self.low, self.high = mean_K, spread_K, low, high
        else:
            total = self.count + rows
            delta_K = mean_K - self.mean_K
            self.spread_K += spread_K + delta_K.square() * (self.count * rows / total)
            self.mean_K += delta_K * rows / total
            self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        self.count += rows

    def compute(self) -> dict[str, float]:
        """``nrmse``, ``r2`` and ``cosine`` (the mean over patches) of all rows so far."""
        rmse = (self.error_K.mean() / self.count).sqrt()
        mean = self.mean_K.mean()
        mean_square = (self.spread_K / self.count + self.mean_K.square()).mean()
        norm = dict(
            rms=mean_square.sqrt(),
            range=self.high - self.low,
            std=(mean_square - mean.square()).clamp(min=0).sqrt(),
            mean=mean.abs(),
        )[self.normalizer]
        # A constant output has no variance to explain: as scikit-learn, 1 if exact, else 0.
        r2_K = torch.where(
            self.spread_K == 0, (self.error_K == 0).double(), 1 - self.error_K / self.spread_K
        )
        return dict(
            nrmse=float(rmse / norm),
            r2=float(r2_K.sum() / len(r2_K)),
            cosine=float(self.cosine / self.count),
        )
