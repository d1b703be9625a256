"""What a training run needs of a checkpoint to go on from it."""

from pathlib import Path

from mixae.checkpoints.account_form import KEY
from mixae.errors import CheckpointError, ConfigError

HUB = ('log_scalars', 'runtime_info', 'resumed_keys')  # of mmengine's message hub


def check_resumable(checkpoint: dict, path: str | Path) -> None:
    """Make sure that a checkpoint holds what a run goes on from, before anything is loaded.

    Raises:
        CheckpointError: Names what is missing or damaged.
    """
    meta, hub, optimizer = (checkpoint.get(key) for key in ('meta', 'message_hub', 'optimizer'))
    meta = meta if isinstance(meta, dict) else {}
    schedulers = checkpoint.get('param_schedulers', [])
    whole = {
        'meta.epoch': _is_count(meta.get('epoch')),
        'meta.iter': _is_count(meta.get('iter')),
        'meta.seed': meta.get('seed') is None or _is_count(meta['seed']),
        'message_hub': isinstance(hub, dict) and all(isinstance(hub.get(k), dict) for k in HUB),
        'optimizer': isinstance(optimizer, dict) and bool(optimizer),
        # By name where there are several optimisers.
        'param_schedulers': isinstance(schedulers, list | dict)
        and all(isinstance(item, str | dict) for item in schedulers),
    }
    missing = [key for key, is_whole in whole.items() if not is_whole]
    if missing:
        raise CheckpointError(
            f'{path} cannot be resumed: {", ".join(missing)} missing or damaged. Name a checkpoint '
            'as training saved it, or start a new run from its weights.'
        )


def check_same_batch(checkpoint: dict, path: str | Path, processes: int, batch_size: int) -> None:
    """Make sure that a run goes on with as many images a step as before.

    Learning rate and schedule follow from that number, and the checkpoint's go on unchanged.

    Args:
        checkpoint (dict): One with an account of itself; of others nothing is known.
        path (str | Path): The checkpoint, for the message.
        processes (int): Of this run.
        batch_size (int): Images of a step in each of them.

    Raises:
        ConfigError: Another number.
    """
    told = checkpoint.get(KEY, {})
    before = told.get('device_count'), told.get('batch_size')
    if None in before or before[0] * before[1] == processes * batch_size:
        return
    raise ConfigError(
        f'{path} was trained with {before[0]} processes x {before[1]} images a step, this run has '
        f'{processes} x {batch_size}: its learning rate and schedule would be those of another '
        'run. Resume with as many images a step (train_dataloader.batch_size).'
    )


def _is_count(value) -> bool:
    return type(value) is int and value >= 0
