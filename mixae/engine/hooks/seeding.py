"""Randomness of the training step that a resumed run repeats."""

import random

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mixae.registry import HOOKS


@HOOKS.register_module()
class SeedIterationHook(Hook):
    """Seeds the generators before each step, from (seed, process, iteration).

    Masks, mixtures, Mixup and drop path then depend on the iteration, not on what was drawn
    before it: N steps, a kill and a resume give what 2N steps give.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        key = [runner.seed or 0, runner.rank, runner.iter]
        a, b, c = np.random.SeedSequence(key).generate_state(3).tolist()
        random.seed(a)
        np.random.seed(b)
        torch.manual_seed(c)
