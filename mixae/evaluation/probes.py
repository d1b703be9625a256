"""Linear classifiers on frozen features.

Shape legend: N training images, M test images, D width, C classes.
"""

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.optim import CosineAnnealingLR, LinearLR
from torch import Tensor, nn

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
        self.lr = base_lr * batch_size / 256
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
        optimizer = torch.optim.SGD(model.parameters(), lr=self.lr, momentum=0.9)
        batch_size = min(self.batch_size, len(train_ND))
        steps = len(train_ND) // batch_size  # the rest of an epoch's order is dropped
        warmup, total = self.warmup_epochs * steps, self.epochs * steps
        schedulers = [CosineAnnealingLR(optimizer, T_max=total - warmup, begin=warmup, end=total)]
        if warmup:
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
