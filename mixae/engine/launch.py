"""What tools/train.py and tools/test.py do, callable from Python."""

import argparse
import contextlib
import errno
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch.distributed
from mmengine.config import Config
from mmengine.dist import is_distributed
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS

from mixae.derive.checks import nearest
from mixae.derive.config import READ, drop_own_scope
from mixae.derive.facts import AUTO
from mixae.derive.values import nodes, short
from mixae.engine.distributed import (
    check_launcher,
    end_with_parent,
    lost_connection,
    tell_launcher,
)
from mixae.engine.options import add_options_argument, merge_options, merge_options_file
from mixae.engine.runner import MixaeRunner
from mixae.errors import (
    LAUNCHER,
    ConfigError,
    MixaeError,
    Preempted,
    StartError,
    check_words,
    describe_error,
)
from mixae.files import ROOT, find_config
from mixae.registry import being_built

# Of a disk that is full or cannot be written, of folders in place of files, of missing rights.
_OF_THE_MACHINE = {
    getattr(errno, name)
    for name in (
        'ENOSPC',
        'EDQUOT',
        'EROFS',
        'EACCES',
        'EPERM',
        'EEXIST',
        'EISDIR',
        'ENOTDIR',
        'ENAMETOOLONG',
    )
}


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments OpenMMLab's users know."""
    parser.add_argument('--work-dir', help='folder for logs, checkpoints and records')
    add_options_argument(parser, '--cfg-options', 'the config')
    parser.add_argument(
        '--options-file',
        metavar='FILE',
        help='JSON file of overrides, {"key": value}; --cfg-options are applied after it',
    )
    parser.add_argument('--budget', help='the compute budget in words, for the run record')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what starts the processes (default: none)',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(args: argparse.Namespace) -> Config:
    """The config file with the common arguments merged in.

    Raises:
        ConfigError: A file that is no config of a run, an override that cannot be used, a launcher
            that did not start this process, or a work directory that is a file.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    if args.options_file is not None:
        merge_options_file(cfg, args.options_file)
    merge_options(cfg, args.cfg_options)
    check_launcher(cfg.launcher)
    if args.budget is not None:
        cfg.budget = args.budget
    if args.work_dir == '':
        raise ConfigError("--work-dir '': expected a folder.")
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(default_work_dir(args.config))
    return cfg


def read_config(path: str | Path, options: Sequence[str] = ()) -> Config:
    """A config of a run, with overrides as :func:`merge_options` takes them.

    Raises:
        ConfigError: No such file, a file that is no Python config, a suite, or an override that
            cannot be used.
    """
    path = find_config(path)
    if not path.is_file():
        shipped = ROOT / path
        if path.parts[:1] == ('configs',) and shipped.is_file():
            name = path.relative_to('configs').as_posix()
            raise ConfigError(f'There is no config file {path} here. Write mixae::{name}.')
        others = map(str, path.parent.glob('*.py'))
        raise ConfigError(f'There is no config file {path}{nearest(str(path), others)}')
    if path.suffix != '.py':
        raise ConfigError(f'{path} is no config: expected a Python file (.py).')
    try:
        cfg = Config.fromfile(path)
        drop_own_scope(cfg)
    except MixaeError:
        raise
    except (Exception, SystemExit) as error:  # a config is a program, and fails as one
        raise ConfigError(f'{path} cannot be read: {describe_error(error)}') from error
    if 'evaluate' in cfg and 'columns' in cfg:
        raise ConfigError(f'{path} is a suite: run it with tools/run_suite.py.')
    if 'model' not in cfg:
        raise ConfigError(f'{path} is no config of a run: it has no model.')
    merge_options(cfg, options)
    return cfg


def default_work_dir(config: str | Path) -> Path:
    """Where a run goes: ``work_dirs`` and the config's path below ``configs``, without its ending.

    A config that lies elsewhere has its stem only.
    """
    path = find_config(config).resolve().with_suffix('')
    folders = path.parts
    if 'configs' in folders[:-1]:
        last = len(folders) - 1 - folders[::-1].index('configs')
        return Path('work_dirs', *folders[last + 1 :])
    return Path('work_dirs', path.name)


def train(
    cfg: Config,
    *,
    resume: str | bool = False,
    amp: bool = False,
    pretrained: str | None = None,
    overwrite: bool = False,
    no_validate: bool = False,
):
    """Train a config.

    Args:
        cfg (Config): See :func:`load_config`.
        resume (str | bool): True continues from the newest readable checkpoint of the work
            directory, a path from that checkpoint.
        amp (bool): Autocast to bfloat16.
        pretrained (str, optional): Of transfer configs: the pre-training checkpoint as it was
            saved, or 'scratch'.
        overwrite (bool): Set the checkpoints of an earlier run in the work directory aside.
        no_validate (bool): Do not validate while training.

    Returns:
        MixaeRunner: The runner, after training.
    """
    missing = [
        key for key in ('train_cfg', 'train_dataloader', 'optim_wrapper') if cfg.get(key) is None
    ]
    if missing:
        raise ConfigError(
            f'{cfg.filename} trains nothing: {", ".join(missing)} not set. Evaluations without '
            'training run with tools/test.py.'
        )
    if pretrained is not None:
        if 'pretrained' not in cfg:
            raise ConfigError(
                f'--pretrained {pretrained}: {cfg.filename} is no transfer config; pre-training '
                'starts from random weights.'
            )
        _start_from(cfg, pretrained)
    if (resume or cfg.get('resume')) and (overwrite or cfg.get('overwrite')):
        raise ConfigError('--resume continues a run and --overwrite replaces it: give one of them.')
    if resume:
        cfg.resume = True
        cfg.load_from = None if resume in (True, 'auto') else resume
    if amp and cfg.optim_wrapper.type == 'OptimWrapper':
        cfg.optim_wrapper.type = 'mixae.AmpOptimWrapper'
    if no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.overwrite = overwrite or cfg.get('overwrite', False)
    with starting(cfg):
        runner = build_runner(cfg)
    with starting(cfg, runner):
        runner.train()
    return runner


def test(cfg: Config, checkpoint: str) -> dict:
    """Evaluate a checkpoint.

    Args:
        cfg (Config): See :func:`load_config`. With a ``pretrained`` entry and no training (kNN,
            linear probe on fixed features) ``checkpoint`` is a *pre-training* checkpoint, or
            'scratch' for a random encoder; otherwise a checkpoint that this config trained.
        checkpoint (str): The checkpoint.

    Returns:
        dict: The metrics.
    """
    if cfg.get('test_dataloader') is None or cfg.get('test_cfg') is None:
        raise ConfigError(
            f'{cfg.filename} evaluates nothing: it has no test_dataloader or no test_cfg. A '
            'pre-training is evaluated by a config of configs/transfer.'
        )
    if 'pretrained' in cfg and not cfg.get('train_cfg'):
        _start_from(cfg, checkpoint)
    else:
        cfg.load_from = checkpoint
        if 'pretrained' in cfg:
            _start_from(cfg, None)
            cfg.pop('pretrained')
    cfg.train_cfg = cfg.train_dataloader = cfg.optim_wrapper = cfg.param_scheduler = None
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    with starting(cfg):
        runner = build_runner(cfg)
    with starting(cfg, runner):
        return runner.test()


def _start_from(cfg: Config, checkpoint: str | None) -> None:
    """Name the checkpoint to start from; the config of an earlier run names that run's."""
    cfg.pretrained = checkpoint
    backbone = cfg.model.get('backbone')
    if isinstance(backbone, dict) and 'pretrained' in backbone:
        backbone['pretrained'] = AUTO


def build_runner(cfg: Config):
    """The runner that the config's ``runner_type`` names; ours by default.

    Raises:
        ConfigError: No such class, or one that does not derive what our configs leave open.
    """
    kind = RUNNERS.get(cfg.setdefault('runner_type', 'mixae.MixaeRunner'))
    if kind is None or not issubclass(kind, MixaeRunner):
        raise ConfigError(
            f'runner_type={cfg.runner_type!r}: expected mixae.MixaeRunner, or a registered class '
            'that inherits it.'
        )
    return RUNNERS.build(cfg)


@contextlib.contextmanager
def starting(cfg: Config, runner: MixaeRunner | None = None) -> Iterator[None]:
    """What fails before the first step or batch has ended becomes a line: it is the config's.

    The log file gets the traceback.

    Args:
        cfg (Config): The config.
        runner (MixaeRunner, optional): Once it is built.

    Raises:
        StartError: Names the component that cannot be built, or the place in the code.
    """
    try:
        yield
    except MixaeError as error:
        if error.__cause__ is not None:
            _log_traceback()
        raise
    except OSError:
        raise
    except Exception as error:
        _log_traceback()
        known = _is_interrupt(error) or lost_connection(error) or _of_the_machine(error)
        if known or (runner is not None and runner.has_started):
            raise
        what, options = 'The run cannot start', being_built(error)
        if options is not None:
            place, given = _find(options, cfg)
            what = f'{place}={short(given, 200)} cannot be built'
        last = traceback.extract_tb(error.__traceback__)[-1]
        reason = describe_error(error) if str(error) else last.line  # a bare assert
        raise StartError(
            f'{what}: {reason} ({Path(last.filename).name}, line {last.lineno}).'
        ) from error


def _find(options: Mapping, cfg: Config) -> tuple[str, Mapping]:
    """The part of a config, before all that was derived, that a component is built from.

    Returns:
        tuple[str, Mapping]: Its place, and the part; the class and no options for none.
    """
    name = str(options.get('type')).split('.')[-1]
    alike = [
        (path, part)
        for path, part in nodes({section: cfg.get(section) for section in READ})
        if isinstance(part, Mapping) and str(part.get('type')).split('.')[-1] == name
    ]
    return max(
        alike,
        key=lambda one: sum(str(value) == str(options.get(key)) for key, value in one[1].items()),
        default=(name, {}),
    )


def run_tool(main, interrupted: str = '--resume continues from the last checkpoint') -> None:
    """Run a tool's ``main``; messages to a person end in one line, as its last output.

    Exit status 1 after an error, 130 after Ctrl-C, 75 where SIGTERM has ended a run that
    ``--resume`` continues.
    """
    end_with_parent()
    try:
        check_words(sys.argv)
        main()
        _end_together()
    except Preempted as error:
        if _is_first():
            print(f'\n{error}', file=sys.stderr)
        _end_together()
        sys.exit(error.exit_status)
    except MixaeError as error:
        # torch appends a worker's traceback to the message; its last line is the message.
        message = str(error)
        if 'Original Traceback' in message:
            message = message.strip().splitlines()[-1].partition(': ')[2]
        # Every process meets an error of the config; an image is read by one of them alone.
        if not tell_launcher(message) and (_is_first() or not isinstance(error, ConfigError)):
            _print_error(message)
        sys.exit(error.exit_status)
    except (KeyboardInterrupt, Exception) as error:
        if _is_interrupt(error):
            if _is_first() and LAUNCHER not in os.environ:
                print(f'interrupted; {interrupted}', file=sys.stderr)
            sys.exit(130)
        kind, message = lost_connection(error) or (None, _of_the_machine(error))
        if message is None:
            raise
        if not tell_launcher(message, lost=kind):
            _print_error(message)
        elif kind:
            time.sleep(2)  # it ends this process when it has seen which was the first to fail
        sys.exit(1)


def _log_traceback() -> None:
    for handler in MMLogger.get_current_instance().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.stream.write(traceback.format_exc())
            handler.flush()


def _of_the_machine(error: Exception) -> str | None:
    """What an error says of this machine, not of the code: its disk, its rights, its memory."""
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE and error.filename:
        return f'{error.filename}: {error.strerror}.'
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f'{error.strerror}: nothing more can be written to the disk of the work directory.'
    if isinstance(error, torch.OutOfMemoryError):
        return (
            f'{describe_error(error)}. Lower the batch_size of the data loader; '
            'optim_wrapper.accumulative_counts keeps the effective batch.'
        )
    reason = (str(error).strip().splitlines() or [''])[-1]
    if re.search(r'_impl: implementation for device cuda(:\d+)? not found', reason):
        return (
            f"{reason.strip('.')}: mmcv's operators, which detection needs, were compiled without "
            'CUDA. Compile mmcv again where nvcc is (docs/install.md), or run on the CPU with '
            'CUDA_VISIBLE_DEVICES= before the command.'
        )
    if reason.startswith('DataLoader worker (pid') or 'memory(shm)' in reason:
        return (
            f'a process that loads data ended ({reason.strip(".")}). Memory, or shared memory '
            '(/dev/shm; docker run --shm-size), was too small, or somebody ended it: lower '
            'num_workers or batch_size of the data loaders. --resume continues.'
        )
    return None


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether an error is Ctrl-C; mmengine makes a SyntaxError of it while it formats a config."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _is_first() -> bool:
    return os.environ.get('RANK', '0') == '0'


def _print_error(message: str) -> None:
    sys.stdout.flush()
    # A line of its own: a progress bar may have left one open.
    print(f'\nerror: {message}', file=sys.stderr)


def _end_together() -> None:
    """Wait for the other processes.

    A process that exits with its group's threads at work while another still writes has been seen
    to abort.
    """
    if is_distributed():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
