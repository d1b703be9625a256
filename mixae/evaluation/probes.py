"""Linear classifiers on frozen features.

Shape legend: N training images, M test images, D width, C classes.
"""

import logging
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.optim import CosineAnnealingLR, LinearLR
from sklearn import linear_model
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from mixae.datasets.held_out import hold_out
from mixae.errors import ConfigError, DataError
from mixae.registry import TASK_UTILS


@TASK_UTILS.register_module()
class LinearProbe:
    """A linear classifier behind a BatchNorm without affine (MAE, Appendix A.1; i-MAE, Sec. 4.2).

    Features do not change while it trains (no augmentation, frozen encoder), so they are computed
    once. SGD with momentum, no weight decay, linear warm-up, cosine decay; MAE's LARS is for its
    batch of 16,384 **(ours: SGD at the batch sizes of small data)**.

    Args:
        epochs (int): Defaults to 90.
        warmup_epochs (int): Defaults to 10.
        batch_size (int): Defaults to 256.
        base_lr (float): Rate of 256 images a step. Defaults to 0.1.
        seed (int): Of the weights and the order of images. Defaults to 0.
    """

    def __init__(
        self,
        epochs: int = 90,
        warmup_epochs: int = 10,
        batch_size: int = 256,
        base_lr: float = 0.1,
        seed: int = 0,
    ) -> None:
        if not 0 <= warmup_epochs < epochs:
            raise ConfigError(f'warmup_epochs={warmup_epochs} must be in [0, epochs={epochs}).')
        self.epochs = epochs
        self.warmup_epochs = warmup_epochs
        self.batch_size = batch_size
        self.base_lr = base_lr
        self.seed = seed

    def __call__(
        self, train_ND: np.ndarray, labels_N: np.ndarray, test_MD: np.ndarray, num_classes: int
    ) -> Tensor:
        """Class scores (logits) of the test images, (M, C)."""
        if len(train_ND) < 2:
            raise DataError(f'{len(train_ND)} training image: BatchNorm needs two at least.')
        train_ND, labels_N = torch.from_numpy(train_ND), torch.from_numpy(labels_N)
        generator = torch.Generator().manual_seed(self.seed)
        linear = nn.Linear(train_ND.shape[1], num_classes)
        nn.init.trunc_normal_(linear.weight, std=0.01, generator=generator)
        nn.init.zeros_(linear.bias)
        model = nn.Sequential(
            nn.BatchNorm1d(train_ND.shape[1], affine=False, eps=1e-6), linear
        ).train()
        batch_size = min(self.batch_size, len(train_ND))
        lr = self.base_lr * batch_size / 256
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        steps = len(train_ND) // batch_size  # the rest of an epoch's order is dropped
        warmup, total = self.warmup_epochs * steps, self.epochs * steps
        schedulers = [CosineAnnealingLR(optimizer, T_max=total - warmup, begin=warmup, end=total)]
        if warmup > 1:  # of one step it would keep its first factor
            schedulers.append(LinearLR(optimizer, start_factor=1e-3, begin=0, end=warmup))
        for _ in range(self.epochs):
            order = torch.randperm(len(train_ND), generator=generator)[: steps * batch_size]
            for batch in order.split(batch_size):
                loss = F.cross_entropy(model(train_ND[batch]), labels_N[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                for scheduler in schedulers:
                    scheduler.step()
        model.eval()
        with torch.no_grad():
            return model(torch.from_numpy(test_MD))


@TASK_UTILS.register_module()
class LogisticRegression:
    """scikit-learn's L2-regularised logistic regression by L-BFGS, for small sets and few labels.

    Features are standardised. C is chosen on a part held out of the training set, the smallest of
    equals; then the classifier is fitted on all of it. There is no chance in it.

    Args:
        strengths (Sequence[float]): Values of C. Defaults to 1e-6 to 1e3, a factor of ten apart.
        hold_out (float): Share of every class that decides on C. Defaults to 0.2.
        max_iter (int): Iterations of L-BFGS at most. Defaults to 1000.

    Raises:
        ConfigError: No strength, or one that is not positive.
    """

    def __init__(
        self,
        strengths: Sequence[float] = tuple(10.0**i for i in range(-6, 4)),
        hold_out: float = 0.2,
        max_iter: int = 1000,
    ) -> None:
        if not strengths or min(strengths) <= 0:
            raise ConfigError(f'strengths={strengths}: expected one positive value or more.')
        self.strengths = sorted(strengths)
        self.hold_out = hold_out
        self.max_iter = max_iter
        self.curves: dict[str, dict] = {}  # for the record
        self.extra: dict[str, dict] = {}

    def __call__(
        self, train_ND: np.ndarray, labels_N: np.ndarray, test_MD: np.ndarray, num_classes: int
    ) -> Tensor:
        """Class scores (logarithms of probabilities) of the test images, (M, C)."""
        train_ND, test_MD = train_ND.astype(np.float64), test_MD.astype(np.float64)
        held_N = hold_out(labels_N, self.hold_out)
        values = []
        for strength in self.strengths:
            fitted = self._fit(train_ND[~held_N], labels_N[~held_N], strength)
            values.append(100 * float(fitted.score(train_ND[held_N], labels_N[held_N])))
        best = self.strengths[int(np.argmax(values))]
        self.curves = dict(
            regularisation=dict(
                x_label='C',
                y_label='top-1 on the held-out part (%)',
                x=self.strengths,
                lines=dict(accuracy=values),
            )
        )
        fitted = self._fit(train_ND, labels_N, best)
        self._tell(best, bool(max(fitted[-1].n_iter_) < self.max_iter), int(held_N.sum()))
        scores_MC = torch.full((len(test_MD), num_classes), -torch.inf)
        scores_MC[:, fitted.classes_] = torch.from_numpy(fitted.predict_log_proba(test_MD)).float()
        return scores_MC

    def _tell(self, strength: float, converged: bool, n_held_out: int) -> None:
        """What was chosen, for the record, and what makes it doubtful."""
        at_edge = len(self.strengths) > 1 and strength in (self.strengths[0], self.strengths[-1])
        self.extra = dict(
            chosen=dict(C=strength, at_edge=at_edge, converged=converged, n_held_out=n_held_out)
        )
        warn = partial(print_log, logger='current', level=logging.WARNING)
        if at_edge:
            which = 'largest' if strength == self.strengths[-1] else 'smallest'
            warn(
                f'The best C, {strength:g}, is the {which} of those tried: one beyond may be '
                'better. Widen strengths.'
            )
        if not converged:
            warn(
                f'Logistic regression stopped at its limit of {self.max_iter} iterations before '
                'it had converged. Raise max_iter.'
            )

    def _fit(self, train_ND: np.ndarray, labels_N: np.ndarray, strength: float) -> Pipeline:
        classifier = linear_model.LogisticRegression(
            # Where C is small, so are gradients: scikit-learn's own tolerance stops too early.
            C=strength,
            tol=1e-8,
            max_iter=self.max_iter,
        )
        return make_pipeline(StandardScaler(), classifier).fit(train_ND, labels_N)
