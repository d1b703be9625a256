"""What tools/train.py and tools/test.py do, callable from Python."""

import argparse
import os
import sys
import time
from pathlib import Path

import torch.distributed
from mmengine.config import Config, DictAction
from mmengine.dist import is_distributed
from mmengine.registry import RUNNERS

from mixae.engine.distributed import end_with_parent, lost_connection, tell_launcher
from mixae.errors import LAUNCHER, ConfigError, DataError, MixaeError, Preempted


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments OpenMMLab's users know."""
    parser.add_argument('--work-dir', help='folder of logs, checkpoints and records')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings of the config: key=value, nested keys with dots, lists as '
        'key="[a,b]"',
    )
    parser.add_argument('--budget', help='the budget in words, for the run record')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(args: argparse.Namespace) -> Config:
    """The config file with the common arguments merged in.

    Raises:
        ConfigError: If there is no such file.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not Path(args.config).is_file():
        raise ConfigError(f'There is no config file {args.config}.')
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.budget is not None:
        cfg.budget = args.budget
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    return cfg


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
    if pretrained is not None:
        cfg.pretrained = pretrained
    if resume:
        cfg.resume = True
        cfg.load_from = None if resume in (True, 'auto') else resume
    if amp and cfg.optim_wrapper.type == 'OptimWrapper':
        cfg.optim_wrapper.type = 'mixae.AmpOptimWrapper'
    if no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.overwrite = overwrite
    runner = build_runner(cfg)
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
    if 'pretrained' in cfg and not cfg.get('train_cfg'):
        cfg.pretrained = checkpoint
    else:
        cfg.load_from = checkpoint
        cfg.pop('pretrained', None)
    cfg.train_cfg = cfg.train_dataloader = cfg.optim_wrapper = cfg.param_scheduler = None
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    return build_runner(cfg).test()


def build_runner(cfg: Config):
    """The runner that the config's ``runner_type`` names; ours by default."""
    cfg.setdefault('runner_type', 'mixae.MixaeRunner')
    return RUNNERS.build(cfg)


def run_tool(main) -> None:
    """Run a tool's ``main``; messages to a person end in one line, as its last output.

    Exit status 1 after an error, 130 after Ctrl-C, 75 where SIGTERM has ended a run that
    ``--resume`` continues.
    """
    end_with_parent()
    try:
        main()
        _end_together()
    except Preempted as error:
        if _rank() == 0:
            print(f'\n{error}', file=sys.stderr)
        _end_together()
        sys.exit(error.exit_status)
    except MixaeError as error:
        # torch appends a worker's traceback to the message; its last line is the message.
        message = str(error)
        if 'Original Traceback' in message:
            message = message.strip().splitlines()[-1].partition(': ')[2]
        # Every process meets an error of the config; an image is read by one of them alone.
        if not tell_launcher(message) and (_rank() == 0 or isinstance(error, DataError)):
            _print_error(message)
        sys.exit(error.exit_status)
    except (KeyboardInterrupt, Exception) as error:
        if _is_interrupt(error):
            if _rank() == 0 and LAUNCHER not in os.environ:
                print('interrupted; --resume continues from the last checkpoint', file=sys.stderr)
            sys.exit(130)
        lost = lost_connection(error)
        if lost is None:
            raise
        kind, message = lost
        if tell_launcher(message, lost=kind):
            time.sleep(2)  # it ends this process when it has seen which was the first to fail
        else:
            _print_error(message)
        sys.exit(1)


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether an error is Ctrl-C; mmengine makes a SyntaxError of it while it formats a config."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _rank() -> int:
    return int(os.environ.get('RANK', 0))


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
