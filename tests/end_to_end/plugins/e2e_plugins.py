"""What the end-to-end tests put into a run, by custom_imports."""

import os
import signal
import zlib
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook

from mixae.datasets import SampleIndex
from mixae.models import MixedAE
from mixae.registry import DATA_SAMPLERS, HOOKS, MODELS


@HOOKS.register_module()
class KillHook(Hook):
    """kill -9 before a step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


@DATA_SAMPLERS.register_module()
class ConsecutiveSampler(DefaultSampler):
    """The total batch is the same images in the same order, however many processes share it."""

    def __init__(self, dataset, total_batch: int, **kwargs) -> None:
        super().__init__(dataset, shuffle=False)
        rank, world_size = get_dist_info()
        share = total_batch // world_size
        starts = range(0, len(dataset) - total_batch + 1, total_batch)
        self.indices = [
            SampleIndex(start + rank * share + i) for start in starts for i in range(share)
        ]

    def __iter__(self):
        return iter(self.indices)

    def __len__(self):
        return len(self.indices)


@MODELS.register_module()
class FixedMixedAE(MixedAE):
    """The assignment of a group follows from the images in it."""

    def loss(self, inputs, data_samples, **kwargs):
        self.names = [Path(sample.img_path).parts[-2:] for sample in data_samples]
        return super().loss(inputs, data_samples, **kwargs)

    def draw_visible(self, inputs):
        L = self.backbone.num_patches
        rows = []
        for start in range(0, len(inputs), self.groups):
            seed = zlib.crc32(repr(self.names[start : start + self.groups]).encode())
            order = torch.randperm(L, generator=torch.Generator().manual_seed(seed))
            rows.append(order.reshape(self.groups, -1))
        return torch.cat(rows)


@HOOKS.register_module()
class DumpHook(Hook):
    """Losses, averaged over processes, and gradients of the first steps, into a file."""

    priority = 'VERY_LOW'

    def __init__(self, path: str, steps: int = 2) -> None:
        self.path, self.steps = path, steps
        self.losses, self.gradients = [], []

    def before_train(self, runner) -> None:
        model = getattr(runner.model, 'module', runner.model)

        def keep(optimizer, args, kwargs) -> None:
            self.gradients.append(
                {k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None}
            )

        runner.optim_wrapper.optimizer.register_step_pre_hook(keep)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        values = torch.stack([outputs[k].detach().float() for k in sorted(outputs)])
        if dist.is_initialized():
            dist.all_reduce(values)
            values /= dist.get_world_size()
        self.losses.append(dict(zip(sorted(outputs), values.tolist(), strict=True)))
        if runner.iter + 1 == self.steps and runner.rank == 0:
            torch.save(dict(losses=self.losses, gradients=self.gradients), self.path)
