"""The work directory of a training run: whose it is, and what an earlier run left in it."""

import logging
import os
import socket
import time
from pathlib import Path
from typing import IO

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mixae.checkpoints.read import read_checkpoint
from mixae.engine.distributed import launched_as
from mixae.engine.hooks.preemption import PREEMPTED
from mixae.engine.hooks.topk_accuracy import CURVE_FILE
from mixae.errors import CheckpointError, ConfigError
from mixae.files import check_folder, lock_file
from mixae.results.record import SUFFIX

LOCK = '.training.lock'  # a suite's, on the same folder, is another file


def checkpoints(work_dir: str | Path) -> list[Path]:
    """The training checkpoints in a work directory, oldest first by epoch or iteration.

    The last is that of a preempted run, where there is one: the next to be written removes it.
    """
    found = [*Path(work_dir).glob('epoch_*.pth'), *Path(work_dir).glob('iter_*.pth')]
    number = {path: path.stem.split('_')[-1] for path in found}
    regular = sorted((p for p in found if number[p].isdigit()), key=lambda p: int(number[p]))
    return [*regular, *Path(work_dir).glob(PREEMPTED)]


def latest_checkpoint(work_dir: str | Path) -> Path:
    """The newest training checkpoint of a work directory that can be read.

    A warning names each newer one that cannot.

    Raises:
        ConfigError: If there is none.
    """
    for path in reversed(checkpoints(work_dir)):
        try:
            read_checkpoint(path)
            return path
        except CheckpointError as error:
            print_log(f'{error} It is passed over.', logger='current', level=logging.WARNING)
    raise ConfigError(
        f'resume: there is no checkpoint to resume in {work_dir}. Drop --resume to start a new '
        'run, or name the work directory of the one to continue with --work-dir.'
    )


def lock_work_dir(cfg: Config) -> IO | None:
    """Keep other training runs out of the work directory for as long as the result is open.

    Two runs in one folder would write over each other's checkpoints. The first process of a run
    holds the lock; it is the one that writes. Evaluations need none, since each record has its own
    name, but a folder that can be written.

    Raises:
        ConfigError: Another run is at work there, or nothing can be written there.
    """
    if not cfg.get('work_dir') or launched_as(cfg)[0] != 0:
        return None
    path = Path(cfg.work_dir) / LOCK
    try:
        check_folder(path.parent)
        if not cfg.get('train_cfg'):
            return None
        lock = lock_file(path)
    except BlockingIOError:
        raise ConfigError(
            f'Another run is at work in {cfg.work_dir} ({path.read_text().strip()}): wait for it, '
            'or choose another folder with --work-dir.'
        ) from None
    except OSError as error:
        raise ConfigError(
            f'{cfg.work_dir} cannot be used as work directory ({error.strerror or error}): choose '
            'a folder that can be written and locked with --work-dir.'
        ) from error
    lock.truncate(0)
    lock.write(f'process {os.getpid()} on {socket.gethostname()}\n')
    lock.flush()
    return lock


def prepare_work_dir(cfg: Config) -> list[str]:
    """Find what to resume, or make sure that a new run does not write over an earlier one.

    Nothing is moved: see :class:`SetAsideHook`.

    Returns:
        list[str]: What was found, for the log.

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
    if existing and not cfg.get('overwrite', False):
        raise ConfigError(
            f'{cfg.work_dir} holds the checkpoints of an earlier run ({existing[-1].name}). Add '
            '--resume to continue it, --work-dir for another place, or --overwrite to replace it.'
        )
    return []


def set_aside(work_dir: str | Path) -> Path | None:
    """Move what an earlier run left into a folder beside it: checkpoints, records, curve.

    Returns:
        Path, optional: That folder; None where there was nothing.
    """
    work_dir = Path(work_dir)
    found = [*checkpoints(work_dir), *work_dir.glob('best_*.pth'), *work_dir.glob(CURVE_FILE)]
    records = list(work_dir.glob(f'records/*{SUFFIX}'))
    if not found and not records:
        return None
    aside = work_dir / time.strftime('replaced_%Y%m%d_%H%M%S')
    aside.mkdir(exist_ok=True)
    for path in found:
        path.rename(aside / path.name)
    for path in records:
        path.rename(aside / f'{path.name}.replaced')  # a table would read it under its own name
    return aside


class SetAsideHook(Hook):
    """With ``--overwrite``: what an earlier run left moves once the first step has succeeded.

    Until then the earlier run is whole: a config that does not work costs nothing.
    """

    priority = 'HIGHEST'  # before the first curve and checkpoint of this run

    def __init__(self) -> None:
        self.done = False

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        if self.done:
            return
        self.done = True
        aside = set_aside(runner.work_dir) if is_main_process() else None
        if aside:
            runner.logger.info(f'What the earlier run left is now in {aside}.')
