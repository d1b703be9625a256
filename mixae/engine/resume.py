"""Resuming: a run goes on as it was, or stops with what differs from its checkpoint."""

import re
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import EarlyStoppingHook
from mmengine.runner import Runner

from mixae.checkpoints.account import KEY
from mixae.checkpoints.resume import check_resumable
from mixae.derive import REQUIRED
from mixae.derive.values import leaf_text, leaves
from mixae.errors import CheckpointError, ConfigError
from mixae.files import file_sha256

SCHEDULE = 'schedule'  # of a checkpoint's account: what `describe_schedule` gives
# Parts of a config that decide what training computes ...
_PARTS = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')
# ... and what in them does not: where things lie, how fast it goes, when it is validated.
_FREE = re.compile(
    r'(^|\.)(num_workers|persistent_workers|pin_memory|prefetch_factor|timeout|with_cp|data_root'
    r'|data_prefix|ann_file|checkpoint|pretrained|pseudo_labels|init_cfg|backend_args|test_cfg'
    r'|val_interval|val_begin|dynamic_intervals)($|[.\[])'
)
# Another device may want these; the schedule is the same, the last digits are not.
_PRECISION = re.compile(r'^(optim_wrapper\.(type|dtype|loss_scale)|compile(\..*)?)$')
_NORMS = {'BN', 'SyncBN'}


def describe_schedule(runner: Runner) -> dict:
    """What a resumed run must have in common with the run that wrote a checkpoint: plain data."""
    cfg, loop = runner.cfg, runner.train_loop
    return dict(
        world_size=runner.world_size,
        batch_size=cfg.train_dataloader.batch_size,
        accumulation=cfg.optim_wrapper.get('accumulative_counts', 1),
        seed=runner.seed,
        n_train=len(loop.dataloader.dataset),
        iters_per_epoch=len(loop.dataloader) if hasattr(loop, 'run_epoch') else None,
        max_iters=loop.max_iters,
        settings={
            name: value
            for part in (*_PARTS, *(['compile'] if cfg.get('compile') else []))
            for name, value in flatten(cfg.get(part), part)
            if not _FREE.search(name)
        },
    )


def check_resume(runner: Runner, checkpoint: dict, path: str | Path) -> None:
    """Make sure that a run can go on from a checkpoint as the run that wrote it would have.

    Raises:
        CheckpointError: It holds no more than weights, or another optimiser.
        ConfigError: Another batch, data set, length, rate or model; names what differs.
    """
    _check_state(runner, checkpoint, path)
    for note in _compare(runner, checkpoint, path):
        runner.logger.warning(note)


def _check_state(runner: Runner, checkpoint: dict, path: str | Path) -> None:
    check_resumable(checkpoint, path)
    schedulers = checkpoint.get('param_schedulers')
    advice = f'To start a new run from its weights: --cfg-options load_from={path}, no --resume.'
    sizes = [
        [len(group['params']) for group in groups]
        for groups in (
            checkpoint['optimizer'].get('param_groups', ()),
            runner.optim_wrapper.optimizer.param_groups,
        )
    ]
    if sizes[0] != sizes[1] or len(schedulers or ()) != len(runner.param_schedulers or ()):
        raise CheckpointError(
            f'{path} cannot be resumed: its optimiser or schedule is that of another config. '
            f'{advice}'
        )


def _compare(runner: Runner, checkpoint: dict, path: str | Path) -> list[str]:
    """What differs but does not matter for the schedule, in words."""
    account = checkpoint.get(KEY)
    old = account.get(SCHEDULE) if isinstance(account, dict) else None
    now = describe_schedule(runner)
    iterations = checkpoint['meta']['iter']
    notes = []
    if iterations % now['accumulation']:
        notes.append(
            f'{path} lies between two optimiser steps (accumulation of {now["accumulation"]}): '
            'the gradients so far are lost, and the run goes on without them.'
        )
    if any(isinstance(hook, EarlyStoppingHook) for hook in runner.hooks):
        notes.append('EarlyStoppingHook does not remember the validations before the resume.')
    if not isinstance(old, dict) or not isinstance(old.get('settings'), dict):
        if iterations > runner.max_iters:
            raise ConfigError(
                f'{path} has run for {iterations} iterations, this config is to run for '
                f'{runner.max_iters} only.'
            )
        return [
            *notes,
            f'{path} does not say how it was trained (an earlier version wrote it): whether batch, '
            'processes and length are the same could not be compared.',
        ]
    same, other = _differences(old, now)
    if other:
        raise ConfigError(
            f'{path} cannot be resumed by this config, which is not the one that wrote it: '
            f'{other}. A resumed run goes on with the schedule it began with. Set these as they '
            f'were, or start a new run in another --work-dir (load_from={path} starts it from '
            'these weights).'
        )
    if same:
        notes.append(f'Resuming with {same}: the same schedule, but not the same bits.')
    return notes


def _differences(old: dict, now: dict) -> tuple[str, str]:
    """How two schedules (:func:`describe_schedule`) differ, in words; '' where they do not.

    Returns:
        tuple[str, str]: What leaves the schedule as it is, and what does not.
    """
    names = {
        'world_size': 'processes',
        'batch_size': 'images per process',
        'accumulation': 'accumulation steps',
        'seed': 'seed',
        'n_train': 'training images',
        'iters_per_epoch': 'iterations per epoch',
        'max_iters': 'iterations in all',
    }
    pairs = {name: (old.get(key), now[key]) for key, name in names.items()}
    before, settings = old['settings'], now['settings']
    for name in sorted(before.keys() | settings.keys(), key=_rank):
        if not _is_counted(name):
            pairs[name] = before.get(name, 'not set'), settings.get(name, 'not set')
    differ = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    batches = [schedule['world_size'] * schedule['batch_size'] for schedule in (old, now)]
    free = {'processes', 'images per process'} if batches[0] == batches[1] else set()
    free |= {name for name, pair in differ.items() if _PRECISION.match(name) or _NORMS >= {*pair}}
    same = [_words(name, *pair) for name, pair in differ.items() if name in free]
    other = [_words(name, *pair) for name, pair in differ.items() if name not in free]
    return '; '.join(same[:6]), '; '.join(other[:6])


def _is_counted(name: str) -> bool:
    """Whether a setting is among the numbers that are compared by themselves."""
    return name in ('train_dataloader.batch_size', 'optim_wrapper.accumulative_counts')


def _rank(name: str) -> tuple:
    # What a person has set comes before what follows from it.
    return not name.startswith('train_cfg'), name.startswith('param_scheduler'), name


def _words(name: str, old, now) -> str:
    old, now = (f'{v:.4g}' if isinstance(v, float) else str(v)[:40] for v in (old, now))
    return f'{name} was {old}, is {now}'


def restore_start(cfg: Config, checkpoint: dict) -> None:
    """What a resumed run takes from its checkpoint before it is built: its start and its seed.

    Args:
        cfg (Config): Changed in place: ``pretrained``, and a ``randomness.seed`` that is None.
        checkpoint (dict): What is resumed.

    Raises:
        ConfigError: ``pretrained`` is given, and is not what the run started from.
    """
    account = checkpoint.get(KEY)
    account = account if isinstance(account, dict) else {}
    randomness = cfg.get('randomness') or {}
    if randomness.get('seed') is None and account.get('seed') is not None:
        cfg.randomness = {**randomness, 'seed': account['seed']}
    if 'pretrained' not in cfg or 'origin' not in account:
        return
    given = None if cfg.pretrained == REQUIRED else cfg.pretrained
    origin = account['origin']
    block = (origin or {}).get('pretraining') or {}
    started = block.get('checkpoint') or ('another checkpoint' if origin else 'scratch')
    if given and (given == 'scratch') != (origin is None):
        wrong = True
    else:
        wrong = (
            given not in (None, '', 'scratch')
            and Path(given).is_file()
            and block.get('sha256') not in (None, file_sha256(given))
        )
    if wrong:
        raise ConfigError(
            f'This run started from {started}, not from --pretrained {given}. Drop --pretrained: '
            'a resumed run takes its start from its own checkpoint.'
        )
    cfg.pretrained = given or started


def flatten(value, name: str = '') -> Iterator[tuple[str, object]]:
    """The leaves of a nested config by their dotted names, as plain data."""
    for path, leaf in leaves(value, name):
        plain = leaf is None or isinstance(leaf, str | int | float)
        yield path, leaf if plain else leaf_text(leaf)
