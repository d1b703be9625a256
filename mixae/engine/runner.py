"""The Runner of mixae's configs (``runner_type='mixae.MixaeRunner'``)."""

import logging
import os
import time
from pathlib import Path

import torch
import torch.distributed
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.dist import get_dist_info, is_distributed, master_only
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn
from torch.utils.data import DataLoader

from mixae.checkpoints.read import misfit, read_checkpoint
from mixae.datasets.checks import check_dataset, loading
from mixae.datasets.guard import guard
from mixae.datasets.workers import end_workers_that_lose_samples
from mixae.derive.resolve import resolve
from mixae.errors import CheckpointError, ConfigError
from mixae.registry import RUNNERS


@RUNNERS.register_module()
class MixaeRunner(Runner):
    """mmengine's Runner with what our users lose weeks to solved.

    - Numbers that follow from others are resolved when it is built, after every override
      (:mod:`mixae.derive.resolve`), and what can be known to fail fails then.
    - Without CUDA, distributed runs use gloo; mmengine's launcher needs a GPU.
    - Checkpoints are written whole or not at all, and read without running code they bring.
    - ``resume`` with nothing to resume, and a second run over a first, stop with a message.
    """

    @classmethod
    def from_cfg(cls, cfg: Config | ConfigDict | dict) -> 'MixaeRunner':
        cfg = cfg if isinstance(cfg, Config) else Config(cfg)
        if cfg.get('launcher', 'none') != 'none' and not torch.cuda.is_available():
            init_gloo(cfg.launcher)
        world_size = get_dist_info()[1]
        if world_size == 1 and cfg.get('launcher', 'none') != 'none':
            world_size = int(os.environ.get('WORLD_SIZE') or os.environ.get('SLURM_NTASKS') or 1)
        cfg, notes = resolve(cfg, world_size, cuda=torch.cuda.is_available())
        notes += prepare_work_dir(cfg)
        runner = super().from_cfg(cfg)
        for note in notes:
            runner.logger.info(note)
        return runner

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """As mmengine's, without a line for each parameter on the terminal; the file has them."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(lambda record: 'paramwise_options' not in record.getMessage())
        return logger

    def test(self) -> dict:
        """As mmengine's; a probe's encoder is loaded first, where its config names it."""
        if self.cfg.get('pretrained') and self._load_from is None:
            self._init_model_weights()
        return super().test()

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """As mmengine's; an option that a component refuses is an error of the config."""
        try:
            return super().build_model(model)
        except CheckpointError:
            raise
        except ValueError as error:
            raise ConfigError(str(error)) from error

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """As mmengine's, over a data set that is checked and whose files are guarded."""
        config = dataloader.get('dataset') if isinstance(dataloader, dict) else None
        end_workers_that_lose_samples()
        with loading(config if isinstance(config, dict) else {}):
            loader = Runner.build_dataloader(dataloader, seed, diff_rank_seed)
        check_dataset(loader.dataset)
        return loader

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """As mmengine's; a data set smaller than one batch of all processes is an error."""
        loop = super().build_train_loop(loop)
        dataloader = loop.dataloader
        if hasattr(dataloader.dataset, '__len__') and len(dataloader) == 0:
            raise ConfigError(
                f'An epoch has no step: {len(dataloader.dataset)} training images, '
                f'{dataloader.batch_size} a process x {self.world_size} processes, and '
                'drop_last=True. Lower train_dataloader.batch_size.'
            )
        check_classes(self.model, dataloader.dataset)
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
            check_same_classes(self._train_loop.dataloader.dataset, loop.dataloader.dataset)
        check_classes(self.model, loop.dataloader.dataset)
        return loop

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        loop = super().build_test_loop(loop)
        guard(loop.dataloader.dataset, replace=False)
        check_classes(self.model, loop.dataloader.dataset)
        return loop

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """As mmengine's; a model with nothing to train has no gradients to share, and stays."""
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
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        model = self.model.module if is_model_wrapper(self.model) else self.model
        try:
            _load_checkpoint_to_model(model, checkpoint, strict, revise_keys=revise_keys)
        except RuntimeError as error:
            raise misfit(filename, model, error) from error
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint

    @master_only
    def save_checkpoint(self, out_dir: str, filename: str, *args, **kwargs) -> None:
        """As mmengine's, but written beside and moved into place: a kill leaves the old file."""
        for stale in Path(out_dir).glob('.*.partial'):  # of a run that was killed while saving
            stale.unlink(missing_ok=True)
        partial = f'.{filename}.{os.getpid()}.partial'
        try:
            super().save_checkpoint(out_dir, partial, *args, **kwargs)
            os.replace(Path(out_dir) / partial, Path(out_dir) / filename)
        finally:
            (Path(out_dir) / partial).unlink(missing_ok=True)


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


def check_same_classes(train, val) -> None:
    """Make sure that labels mean the same in training and validation.

    Folders of another layout are read as classes without a word: the validation images of
    Tiny-ImageNet, as its archive unpacks, are one class called 'images'.

    Raises:
        ConfigError: Classes that differ, where both data sets name theirs.
    """
    classes = [list(getattr(data, 'metainfo', {}).get('classes') or ()) for data in (train, val)]
    if all(classes) and classes[0] != classes[1]:
        trained, validated = (
            f'{len(names)} ({", ".join(map(str, names[:4]))}{", ..." if len(names) > 4 else ""})'
            for names in classes
        )
        raise ConfigError(
            f'The training images have the classes {trained}, the validation images {validated}: '
            'give both the same folders, one a class, or the same metainfo.classes.'
        )


def init_gloo(launcher: str) -> None:
    """Start torch.distributed on CPU from the environment that torchrun or SLURM sets.

    Raises:
        ConfigError: For a launcher that has no CPU form here (mpi).
    """
    if is_distributed():
        return
    if launcher == 'slurm':
        # One node is what a CPU run has; several need MASTER_ADDR from the user.
        os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
        os.environ.setdefault('MASTER_PORT', '29500')
        os.environ['RANK'] = os.environ['SLURM_PROCID']
        os.environ['WORLD_SIZE'] = os.environ['SLURM_NTASKS']
        os.environ['LOCAL_RANK'] = os.environ.get('SLURM_LOCALID', '0')
    elif launcher != 'pytorch':
        raise ConfigError(f"launcher={launcher!r} needs a GPU; on CPU use 'pytorch' or 'slurm'.")
    torch.distributed.init_process_group('gloo')


def checkpoints(work_dir: str | Path) -> list[Path]:
    """The training checkpoints in a work directory, oldest first by epoch or iteration."""
    found = [*Path(work_dir).glob('epoch_*.pth'), *Path(work_dir).glob('iter_*.pth')]
    number = {path: path.stem.split('_')[-1] for path in found}
    return sorted((p for p in found if number[p].isdigit()), key=lambda p: int(number[p]))


def latest_checkpoint(work_dir: str | Path) -> Path:
    """The newest training checkpoint of a work directory that can be read.

    Raises:
        ConfigError: If there is none.
    """
    for path in reversed(checkpoints(work_dir)):
        try:
            read_checkpoint(path)
            return path
        except CheckpointError:
            continue
    raise ConfigError(
        f'resume: there is no checkpoint to resume in {work_dir}. Drop --resume to start a new '
        'run, or name the work directory of the one to continue with --work-dir.'
    )


def prepare_work_dir(cfg: Config) -> list[str]:
    """Find what to resume, or make sure that a new run does not write over an earlier one.

    ``overwrite=True`` moves the earlier run's checkpoints into a folder beside the new ones.

    Returns:
        list[str]: What was done, for the log.

    Raises:
        ConfigError: ``resume`` with nothing to resume; checkpoints of an earlier run without
            ``resume`` or ``overwrite``.
    """
    if not cfg.get('train_cfg') or not cfg.get('work_dir'):
        return []
    if cfg.get('resume'):
        if not cfg.get('load_from'):
            cfg.load_from = str(latest_checkpoint(cfg.work_dir))
        return [f'Resuming from {cfg.load_from}.']
    existing = checkpoints(cfg.work_dir)
    if not existing:
        return []
    if not cfg.get('overwrite', False):
        raise ConfigError(
            f'{cfg.work_dir} holds the checkpoints of an earlier run ({existing[-1].name}). Add '
            '--resume to continue it, --work-dir for another place, or --overwrite to replace it.'
        )
    if get_dist_info()[0] != 0:
        return []
    return [f'The checkpoints of the earlier run are now in {set_aside(cfg.work_dir)}.']


def set_aside(work_dir: str | Path) -> Path:
    """Move a run's checkpoints into a folder beside the new ones; returns it."""
    aside = Path(work_dir) / time.strftime('replaced_%Y%m%d_%H%M%S')
    aside.mkdir(parents=True, exist_ok=True)
    for path in checkpoints(work_dir):
        path.rename(aside / path.name)
    return aside
