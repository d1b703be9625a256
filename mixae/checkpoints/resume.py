"""What a training run needs of a checkpoint to go on from it."""

from pathlib import Path

from mixae.errors import CheckpointError

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
        'optimizer': _is_optimizer(optimizer),
        'param_schedulers': _are_schedulers(schedulers),
    }
    missing = [key for key, is_whole in whole.items() if not is_whole]
    if missing:
        raise CheckpointError(
            f'{path} cannot be resumed: {", ".join(missing)} missing or damaged. Name a checkpoint '
            'as training saved it, or start a new run from its weights.'
        )


def _is_count(value) -> bool:
    return type(value) is int and value >= 0


def _is_optimizer(state) -> bool:
    """Whether this is the state of an optimiser, or of several by their names."""
    if not isinstance(state, dict) or not state:
        return False
    if 'param_groups' not in state:
        return all(map(_is_optimizer, state.values()))
    groups = state['param_groups']
    return (
        isinstance(state.get('state'), dict)
        and isinstance(groups, list)
        and all(isinstance(g, dict) and isinstance(g.get('params'), list) for g in groups)
    )


def _are_schedulers(states) -> bool:
    """Whether these are the states of schedulers, or of several optimisers' by their names."""
    if isinstance(states, dict):
        return all(map(_are_schedulers, states.values()))
    return isinstance(states, list) and all(isinstance(state, dict) for state in states)
