"""What tools/train.py and tools/test.py do, callable from Python."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import RUNNERS

from mixae.derive.checks import nearest
from mixae.derive.config import drop_own_scope
from mixae.derive.facts import AUTO
from mixae.engine.distributed import check_launcher
from mixae.engine.options import add_options_argument, merge_options, merge_options_file
from mixae.engine.runner import MixaeRunner
from mixae.engine.tool import starting
from mixae.errors import ConfigError, MixaeError, describe_error
from mixae.files import ROOT, find_config


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
