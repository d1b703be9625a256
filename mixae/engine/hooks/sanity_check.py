"""What would be known only after the last epoch, tried before the first step."""

import contextlib
import copy
import io
import logging
import random
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from torch import nn

from mixae.engine.hooks.record import RunRecordHook
from mixae.errors import ConfigError, MixaeError, describe_error


class SanityCheckHook(Hook):
    """Validates one batch, evaluates it and drafts the record, before training begins.

    An evaluator that cannot work, a record that the config does not suffice for, a metric that a
    hook waits for in vain, and a last batch of one image that BatchNorm refuses end a run here
    and not after its epochs. The run is as it would be without: generators, BatchNorm's
    statistics and the evaluator's state are put back, nothing is written.

    Every run of :class:`mixae.engine.runner.MixaeRunner` has it.

    Raises:
        ConfigError: From whatever fails.
    """

    priority = 'HIGHEST'

    def before_train(self, runner: Runner) -> None:
        metrics = {}
        with _unchanged(runner), _quiet(runner):
            if hasattr(runner.val_loop, 'evaluator'):
                metrics = validate_one_batch(runner.val_loop)
            if smallest_batch(runner) == 1:
                train_one_image(runner)
        _check_watched(runner, metrics)
        record = next((hook for hook in runner.hooks if isinstance(hook, RunRecordHook)), None)
        if record is not None and runner.val_loop is not None:
            record.draft(runner, record.values(metrics) or {'none yet': 0.0})


def validate_one_batch(loop: BaseLoop) -> dict:
    """The metrics of the first batch; empty where nothing can be measured without writing files."""
    if loop.dataloader.batch_sampler is None:  # a stream has no first batch to come back to
        return {}
    metrics = loop.evaluator.metrics
    kept = [metric for metric in metrics if not _writes(metric)]
    before = [
        {k: copy.copy(v) if isinstance(v, list | dict) else v for k, v in vars(metric).items()}
        for metric in kept
    ]
    loop.evaluator.metrics = kept
    try:
        loop.runner.model.eval()
        indices = next(iter(loop.dataloader.batch_sampler))
        loop.run_iter(0, _load(loop.dataloader, indices))
        return loop.evaluator.evaluate(len(indices) * loop.runner.world_size)
    except MixaeError:
        raise
    except Exception as error:
        raise ConfigError(
            f'The validation cannot work: its first batch ended in {describe_error(error)}. '
            'Correct val_evaluator or val_dataloader (or train with --no-validate).'
        ) from error
    finally:
        loop.evaluator.metrics = metrics
        for metric, state in zip(kept, before, strict=True):
            metric.__dict__ = state


def smallest_batch(runner: Runner) -> int:
    """Images in the smallest batch of a process: the last of an epoch may be short."""
    loader = runner.train_dataloader
    size = runner.cfg.train_dataloader.batch_size
    sampler = loader.batch_sampler
    if sampler is None or getattr(sampler, 'drop_last', False):
        return size
    indices = getattr(sampler, 'sampler', None)
    if indices is None or isinstance(indices, InfiniteSampler):
        return size
    return len(indices) % size or size


def train_one_image(runner: Runner) -> None:
    """A step's forward pass on a single image."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    loader = runner.train_dataloader
    data = _load(loader, next(iter(loader.batch_sampler))[:1])
    model.train()
    try:
        with torch.no_grad(), runner.optim_wrapper.optim_context(runner.model):
            data = model.data_preprocessor(data, True)
            model._run_forward(data, mode='loss')
    except MixaeError:
        raise
    except Exception as error:
        size = runner.cfg.train_dataloader.batch_size
        which = (
            f'train_dataloader.batch_size={size}'
            if size == 1
            else f'the last batch of an epoch ({len(loader.dataset)} images in batches of {size}, '
            f'{runner.world_size} processes)'
        )
        raise ConfigError(
            f'A training step of one image fails, which is {which}: {describe_error(error)}. Set '
            'another train_dataloader.batch_size, or drop_last=True.'
        ) from error


def _load(loader, indices: list[int]):
    return loader.collate_fn([loader.dataset[index] for index in indices])


def _writes(metric) -> bool:
    """Whether a metric leaves files when it is computed."""
    names = ('format_only', 'output_dir', 'out_file_path', 'outfile_prefix')
    return any(getattr(metric, name, None) for name in names)


def _check_watched(runner: Runner, metrics: dict) -> None:
    """A hook that waits for a metric: early stopping, the best checkpoint."""
    for hook in runner.hooks if metrics else ():
        watched = []
        if isinstance(hook, EarlyStoppingHook):
            watched = [hook.monitor]
        elif isinstance(hook, CheckpointHook) and hook.save_best:
            watched = [name for name in hook.key_indicators if name != 'auto']
        missing = [name for name in watched if name not in metrics]
        if missing:
            raise ConfigError(
                f'{type(hook).__name__} waits for {", ".join(missing)}, which the validation does '
                f'not measure: it gives {", ".join(metrics)}.'
            )


@contextlib.contextmanager
def _unchanged(runner: Runner) -> Iterator[None]:
    """Put back what a forward pass changes: generators, buffers, modes."""
    buffers = {buffer: buffer.clone() for buffer in runner.model.buffers()}
    hooks, runner._hooks = runner._hooks, []  # nothing of this is logged, timed or counted
    try:
        with undisturbed(runner.model):
            yield
    finally:
        runner._hooks = hooks
        with torch.no_grad():
            for buffer, value in buffers.items():
                buffer.copy_(value)


@contextlib.contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Generators and training modes are afterwards as they were before."""
    modes = {module: module.training for module in model.modules()}
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for module, mode in modes.items():
            module.training = mode


@contextlib.contextmanager
def _quiet(runner: Runner) -> Iterator[None]:
    """No metrics of a single batch on the terminal or in the log."""
    level = runner.logger.level
    runner.logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        runner.logger.setLevel(level)
