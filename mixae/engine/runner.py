"""The Runner of mixae's configs (``runner_type='mixae.MixaeRunner'``)."""

import copy
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO

import torch
import torch.distributed
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.dist import is_main_process, master_only
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.optim import BaseOptimWrapper, ZeroRedundancyOptimizer
from mmengine.runner import BaseLoop, Runner
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from mmpretrain.models import BaseClassifier
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer as TorchZero
from torch.utils.data import DataLoader

from mixae.checkpoints.load import check_weights
from mixae.checkpoints.read import misfit, read_checkpoint
from mixae.datasets.checks import check_dataset, loading
from mixae.datasets.guard import guard
from mixae.datasets.splits import (
    check_same_classes,
    check_same_labels,
    check_several_classes,
    check_splits,
    classes_of,
)
from mixae.datasets.workers import end_workers_that_lose_samples
from mixae.derive import derive
from mixae.derive.config import drop_own_scope
from mixae.derive.values import check_values
from mixae.engine.compiling import compile_loss
from mixae.engine.distributed import init_processes, launched_as
from mixae.engine.hooks import PreemptionHook, ProvenanceHook, SanityCheckHook
from mixae.engine.hooks.preemption import PREEMPTED
from mixae.engine.hooks.provenance import describe_variant
from mixae.engine.loops import repeatable, type_name
from mixae.engine.optim import fuse
from mixae.engine.resume import check_resume, restore_start
from mixae.engine.work_dir import SetAsideHook, lock_work_dir, prepare_work_dir
from mixae.errors import CheckpointError, ConfigError, MixaeError
from mixae.files import replace_whole
from mixae.models.layers.attention import use_attend
from mixae.registry import DATASETS, RUNNERS


class StartedHook(Hook):
    """Notes that a first step or batch has ended."""

    def _after_iter(self, runner: Runner, *args, **kwargs) -> None:
        runner.has_started = True


@RUNNERS.register_module()
class MixaeRunner(Runner):
    """mmengine's Runner with what our users lose weeks to solved.

    - Numbers that follow from others are resolved when it is built, after every override
      (:mod:`mixae.derive`), and what can be known to fail fails then.
    - Without CUDA, distributed runs use gloo; mmengine's launcher needs a GPU.
    - Checkpoints are written whole or not at all, and read without running code they bring.
    - A resumed run goes on as it was, or stops with what differs (:mod:`mixae.engine.resume`).
    - ``resume`` with nothing to resume, and a second run over a first or beside it in one folder,
      stop with a message.
    """

    variant: dict  # of the config, before anything was derived
    _lock: IO | None = None  # of the work directory, while this process may write there
    has_started: bool = False  # a step or a batch has ended

    @classmethod
    def from_cfg(cls, cfg: Config | ConfigDict | dict) -> 'MixaeRunner':
        cfg = cfg if isinstance(cfg, Config) else Config(cfg)
        cfg = copy.deepcopy(cfg)
        drop_own_scope(cfg)
        if (cfg.get('auto_scale_lr') or {}).get('enable'):
            raise ConfigError(
                'auto_scale_lr would scale the learning rate twice: it follows the batch already, '
                'lr = base_lr x effective batch / base_lr_batch. Remove auto_scale_lr.'
            )
        check_values(cfg)
        lock = lock_work_dir(cfg)
        init_processes(cfg)
        done = prepare_work_dir(cfg)
        if cfg.get('train_cfg') and cfg.get('resume'):
            restore_start(cfg, read_checkpoint(cfg.load_from))
        variant = describe_variant(cfg)  # as it is written: what follows from it sets nothing apart
        cfg, notes = derive(cfg, launched_as(cfg)[1], cuda=torch.cuda.is_available())
        runner = super().from_cfg(cfg)
        runner.variant = variant
        runner._lock = lock
        for note in notes + done:
            runner.logger.info(note)
        runner.register_hook(StartedHook())
        if cfg.get('train_cfg'):
            runner.register_hook(SanityCheckHook())
            runner.register_hook(PreemptionHook())
        if cfg.get('overwrite'):
            runner.register_hook(SetAsideHook())
        return runner

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """As mmengine's, without a line for each parameter on the terminal; the file has them."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(lambda record: 'paramwise_options' not in record.getMessage())
        return logger

    def train(self) -> nn.Module:
        """As mmengine's; the work directory is this run's alone until it ends."""
        try:
            return super().train()
        finally:
            for hook in self.hooks:
                if isinstance(hook, PreemptionHook | ProvenanceHook):
                    hook.release()
            if self._lock is not None:
                self._lock.close()

    def register_hook(self, hook: Hook | dict, priority: int | str | None = None) -> None:
        """As mmengine's; its checkpoint hook gives way to ours, which removes late."""
        if isinstance(hook, dict) and type_name(hook) == 'CheckpointHook':
            hook = {**hook, 'type': 'mixae.CheckpointHook'}
        super().register_hook(hook, priority)

    def test(self) -> dict:
        """As mmengine's; a probe's encoder is loaded first, where its config names it."""
        if self.cfg.get('pretrained') and self._load_from is None:
            self._init_model_weights()
        return super().test()

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """As mmengine's, over a data set that is checked and whose files are guarded."""
        end_workers_that_lose_samples()
        if isinstance(dataloader, dict) and isinstance(dataloader['dataset'], dict):
            with loading(dataloader['dataset']):
                dataset = DATASETS.build(dataloader['dataset'])
                if hasattr(dataset, 'full_init'):
                    dataset.full_init()
            dataloader = {**dataloader, 'dataset': dataset}
        loader = Runner.build_dataloader(dataloader, seed, diff_rank_seed)
        check_dataset(loader.dataset)
        return loader

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """As mmengine's, but repeated by a resume (:mod:`mixae.engine.loops`).

        A data set smaller than one batch of all processes is an error.
        """
        if isinstance(loop, dict):
            loop = dict(loop)
            by_epoch = 'type' not in loop and loop.get('by_epoch')
            if by_epoch or type_name(loop) == 'EpochBasedTrainLoop':
                loop.pop('by_epoch', None)
                loop['type'] = 'mixae.EpochLoop'
        if isinstance(self._train_dataloader, dict):
            seeded = repeatable(self._train_dataloader, self.seed)
            if seeded is None:
                self.logger.warning(
                    f'{self._train_dataloader["sampler"]["type"]} does not say in which epoch an '
                    'image is drawn: a resumed run will not repeat the augmentation.'
                )
            self._train_dataloader = seeded or self._train_dataloader
        loop = super().build_train_loop(loop)
        dataloader = loop.dataloader
        if hasattr(dataloader.dataset, '__len__') and len(dataloader) == 0:
            raise ConfigError(
                f'An epoch has no step: {len(dataloader.dataset)} training images, '
                f'{dataloader.batch_size} a process x {self.world_size} processes, and '
                'drop_last=True. Lower train_dataloader.batch_size.'
            )
        steps = self.cfg.optim_wrapper.get('accumulative_counts', 1)
        if steps > loop.max_iters:
            raise ConfigError(
                f'optim_wrapper.accumulative_counts={steps}: the run has {loop.max_iters} '
                'iterations, and would end before its first step.'
            )
        self._check_data(dataloader.dataset, 'training')
        for scheduler in self.cfg.get('param_scheduler') or ():
            by_iteration = scheduler.type == 'LinearLR' and not scheduler.get('by_epoch', True)
            warmup = scheduler.get('end', 0) if by_iteration else 0
            if warmup > loop.max_iters:  # known only now: an epoch's length is the data's
                self.logger.warning(
                    f'The warm-up of {warmup} iterations does not end within this run of '
                    f'{loop.max_iters}: its learning rate is never reached. Set warmup_iters.'
                )
        return loop

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        loop = super().build_val_loop(loop)
        guard(loop.dataloader.dataset, replace=False)  # another image would be another result
        if isinstance(self._train_loop, BaseLoop):
            # A detector or segmentor may be tried on its own images; its record says so.
            check = check_splits if self._classifies else check_same_labels
            check(self._train_loop.dataloader.dataset, loop.dataloader.dataset)
        self._check_data(loop.dataloader.dataset, 'validation')
        return loop

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        loop = super().build_test_loop(loop)
        guard(loop.dataloader.dataset, replace=False)
        self._check_data(loop.dataloader.dataset, 'test')
        return loop

    def _check_data(self, dataset, what: str) -> None:
        """Heads have its classes, and a classifier sees several of them."""
        check_classes(self.model, dataset)
        if self._classifies:
            check_several_classes(dataset, what)

    @property
    def _classifies(self) -> bool:
        model = self.model.module if is_model_wrapper(self.model) else self.model
        return isinstance(model, BaseClassifier)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """As mmengine's; a model with nothing to train has no gradients to share, and stays."""
        use_attend(model)
        if self.cfg.get('compile') and self.cfg.get('train_cfg'):
            compile_loss(model, self.cfg.compile)
        if self.distributed and not any(p.requires_grad for p in model.parameters()):
            return model.to(get_device())
        if self.distributed and model_wrapper_cfg is None and not torch.cuda.is_available():
            model_wrapper_cfg = dict(
                type='MMDistributedDataParallel',
                device_ids=None,
                broadcast_buffers=False,
                find_unused_parameters=self.cfg.get('find_unused_parameters', False),
            )
        return super().wrap_model(model_wrapper_cfg, model)

    def _maybe_compile(self, target: str) -> None:
        """Nothing is left to compile: :func:`compile_loss` has been called."""

    def build_optim_wrapper(self, optim_wrapper: dict | BaseOptimWrapper) -> BaseOptimWrapper:
        """As mmengine's; on a GPU AdamW takes its step in one kernel, but for a loss scaler's."""
        wrapper = super().build_optim_wrapper(optim_wrapper)
        if torch.cuda.is_available():
            fuse(wrapper)
        return wrapper

    def _build_param_scheduler(self, scheduler, optim_wrapper) -> list:
        """As mmengine's, but for a warm-up of one step: LinearLR would keep its first factor."""
        several = scheduler if isinstance(scheduler, Sequence) else [scheduler]
        kept = [one for one in several if not self._is_one_step(one)]
        return super()._build_param_scheduler(kept, optim_wrapper)

    def _is_one_step(self, scheduler) -> bool:
        built = not isinstance(scheduler, dict)  # as where a resume asks again
        if built or type_name(scheduler) != 'LinearLR' or 'end' not in scheduler:
            return False
        a_unit = len(self.train_dataloader) if scheduler.get('convert_to_iter_based') else 1
        begin, end = (int(scheduler.get(key, 0) * a_unit) for key in ('begin', 'end'))
        return end - begin <= 1

    def load_checkpoint(
        self,
        filename: str,
        map_location: str = 'cpu',
        strict: bool = True,
        revise_keys: list = [(r'^module.', '')],  # noqa: B006 (mmengine's signature)
    ) -> dict:
        """As mmengine's, but safe (:func:`read_checkpoint`) and strict by default.

        Raises:
            CheckpointError: If the file cannot be read safely or does not fit the model.
        """
        checkpoint = read_checkpoint(filename, map_location=map_location)
        if self._resume:
            check_resume(self, checkpoint, filename)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        model = self.model.module if is_model_wrapper(self.model) else self.model
        state = {k.removeprefix('module.'): v for k, v in checkpoint['state_dict'].items()}
        check_weights(state, filename, model)
        if not self.cfg.get('train_cfg') and isinstance(self._test_loop, BaseLoop):
            tested = getattr(self._test_loop.dataloader.dataset, 'metainfo', None)
            check_same_classes(_trained_classes(checkpoint), classes_of(tested))
        try:
            _load_checkpoint_to_model(model, checkpoint, strict, revise_keys=revise_keys)
        except RuntimeError as error:
            raise misfit(filename, model, error) from error
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint

    def resume(self, filename: str, *args, **kwargs) -> None:
        """As mmengine's, but no code of the checkpoint is run.

        mmengine executes the text of a config there, to compare the number of processes;
        :func:`read_checkpoint` has dropped it.

        Raises:
            CheckpointError: Also if the optimiser's or a schedule's state is of another config.
        """
        try:
            super().resume(filename, *args, **kwargs)
        except MixaeError:
            raise
        except (KeyError, ValueError) as error:
            raise CheckpointError(
                f'{filename} cannot be resumed with this config ({type(error).__name__}: {error}). '
                'Choose the config that trained it.'
            ) from error

    def save_checkpoint(self, out_dir: str, filename: str, *args, **kwargs) -> None:
        """As mmengine's, but written beside and moved into place: a kill leaves the old file.

        The first process writes. An optimiser whose state is spread over the processes is gathered
        there; all of them call this.
        """
        optimizer = self.optim_wrapper.optimizer
        if not isinstance(optimizer, ZeroRedundancyOptimizer):
            self._write_checkpoint(out_dir, filename, *args, **kwargs)
            return
        optimizer.consolidate_state_dict()
        if is_main_process():
            # mmengine's would ask the others for it once more.
            optimizer.state_dict = partial(TorchZero.state_dict, optimizer)
            try:
                self._write_checkpoint(out_dir, filename, *args, **kwargs)
            finally:
                del optimizer.state_dict

    @master_only
    def _write_checkpoint(self, out_dir: str, filename: str, *args, **kwargs) -> None:
        for stale in Path(out_dir).glob('.*.partial.pth'):  # of a run that was killed while saving
            stale.unlink(missing_ok=True)
        with replace_whole(Path(out_dir) / filename) as draft:
            super().save_checkpoint(out_dir, draft.name, *args, **kwargs)
        if filename.startswith(('epoch_', 'iter_')):
            (Path(out_dir) / PREEMPTED).unlink(missing_ok=True)  # this one is newer


def _trained_classes(checkpoint: dict) -> list[str]:
    """The classes that mmengine noted in a checkpoint; empty if it did not."""
    meta = checkpoint.get('meta')
    told = meta.get('dataset_meta') if isinstance(meta, dict) else None
    if not isinstance(told, dict) or not isinstance(told.get('classes'), list | tuple):
        return []
    return classes_of(told)


def check_classes(model: nn.Module, dataset) -> None:
    """Make sure that the heads of a classifier, detector or segmentor have a data set's classes.

    mmdet's ``NumClassCheckHook`` asserts it where a config names it, and of the validation data
    only after an epoch of training.

    Raises:
        ConfigError: A head of another number of classes.
    """
    model = model.module if is_model_wrapper(model) else model
    classes = getattr(dataset, 'metainfo', {}).get('classes')
    if classes is None:
        return
    dense = any(hasattr(model, part) for part in ('roi_head', 'bbox_head', 'decode_head'))
    for name, module in model.named_modules():
        # A region proposal network tells objects from background; a segmentor repeats its head's.
        if module is model or name.endswith('rpn_head'):
            continue
        if not dense and name.split('.')[0] != 'head':  # an encoder may have a number of its own
            continue
        if not isinstance(getattr(module, 'num_classes', None), int):
            continue
        if module.num_classes != len(classes):
            raise ConfigError(
                f'model.{name} has num_classes={module.num_classes}, but {type(dataset).__name__} '
                f'has {len(classes)} classes: {", ".join(classes[:8])}'
                f'{", ..." if len(classes) > 8 else ""}. Set num_classes of every head, or '
                'metainfo.classes of the data set.'
            )
