"""Learning rate, warm-up and intervals, from the length of the run and the effective batch."""

import math

from mixae.derive.facts import AUTO, Facts
from mixae.errors import ConfigError


def derive_schedule(facts: Facts) -> None:
    """The warm-up lasts ``warmup_epochs`` or ``warmup_iters``; what follows lasts to the end.

    The end is ``train_cfg.max_epochs`` or ``max_iters``. Validation is at the end, and a run
    leaves at most 200 checkpoints per run of epochs, 10 per run of iterations, unless given.

    Raises:
        ConfigError: Two lengths for one warm-up, or a warm-up in epochs of a run of iterations.
    """
    cfg = facts.cfg
    train_cfg = cfg.get('train_cfg') or {}
    unit = 'iters' if 'max_iters' in train_cfg else 'epochs'
    length = train_cfg.get(f'max_{unit}')
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
    if train_cfg and length is None:
        raise ConfigError('train_cfg has neither max_epochs nor max_iters: give one of them.')
    if length is None:  # an evaluation: nothing to save
        facts.fill(checkpoint, interval=-1)
        return
    facts.fill(train_cfg, val_interval=length)
    # Epochs: none where a kill costs more than half a per cent of the run.
    facts.fill(checkpoint, interval=math.ceil(length / (10 if unit == 'iters' else 200)))
    warmup, warmup_unit = _warmup(facts, length, unit)
    # A warm-up in iterations runs within the first epochs of the schedule that follows it.
    begin = warmup if warmup_unit == unit else 0
    schedulers = []
    for scheduler in cfg.get('param_scheduler') or []:
        if scheduler.type == 'LinearLR':
            facts.fill(scheduler, end=warmup)
            if scheduler.get('end') == 0:
                continue
        else:
            steps = [max(1, round(share * length)) for share in cfg.get('lr_steps', ())]
            facts.fill(scheduler, begin=begin, end=length, T_max=length - begin, milestones=steps)
        schedulers.append(scheduler)
    if 'param_scheduler' in cfg:
        cfg.param_scheduler = schedulers


def _warmup(facts: Facts, length: int, unit: str) -> tuple[int, str]:
    """Length and unit of the warm-up; one that does not fit becomes a tenth of the run."""
    given = {
        name: facts.cfg[f'warmup_{name}']
        for name in ('epochs', 'iters')
        if facts.cfg.get(f'warmup_{name}') is not None
    }
    if len(given) > 1:
        raise ConfigError(
            f'warmup_epochs={given["epochs"]} and warmup_iters={given["iters"]}: give one of them, '
            'and None for the other.'
        )
    name, warmup = next(iter(given.items()), (unit, 0))
    if name == 'epochs' and unit == 'iters':
        raise ConfigError(
            f'warmup_epochs={warmup} with train_cfg.max_iters={length}: a run of iterations has '
            'its warm-up in iterations, warmup_iters.'
        )
    if name == unit and warmup and warmup >= length:
        words = 'epochs' if unit == 'epochs' else 'iterations'
        tenth = length // 10
        facts.note(
            f'warmup_{unit}={warmup} does not fit in {length} {words}: the warm-up lasts {tenth} '
            '(a tenth).'
        )
        warmup = tenth
    return warmup, name


def derive_learning_rate(facts: Facts) -> None:
    """lr = base_lr x effective batch / base_lr_batch (256 in MAE), unless lr is given.

    Raises:
        ConfigError: ``lr`` is 'auto' and there is no ``base_lr``.
    """
    cfg = facts.cfg
    if not facts.trains or not cfg.get('optim_wrapper'):
        return
    optimizer, batch = cfg.optim_wrapper.optimizer, facts.effective_batch
    line = (
        f'Effective batch {batch} = {facts.batch_size} images per process x '
        f'{facts.world_size} processes x {facts.accumulation} accumulation steps'
    )
    if optimizer.get('lr') == AUTO:
        if cfg.get('base_lr') is None:
            raise ConfigError("optim_wrapper.optimizer.lr is 'auto' and the config has no base_lr.")
        reference = cfg.get('base_lr_batch', 256)
        optimizer.lr = cfg.base_lr * batch / reference
        line += f'; lr {optimizer.lr:.4g} = base_lr {cfg.base_lr:.4g} x {batch} / {reference}'
    elif 'lr' in optimizer:
        line += f'; lr {optimizer.lr:.4g} as given'
    facts.note(line + '.')
