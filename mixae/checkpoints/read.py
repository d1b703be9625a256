"""Reading checkpoints without running code that they bring."""

import argparse
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor, nn

from mixae.errors import CheckpointError


def _statistic(cls: type, name: str):
    """In place of ``getattr``, which mmengine's history buffers pickle their statistics with."""
    if cls is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise AttributeError(f'{name} of {cls} is not read from a checkpoint')
    return getattr(cls, name)


# What checkpoints hold beside tensors: of mmengine the message hub's history of scalars, of the
# training scripts of MAE and timm their arguments.
SAFE_GLOBALS = [
    argparse.Namespace,
    HistoryBuffer,
    (_statistic, 'getattr'),
    (_statistic, 'builtins.getattr'),
    (_statistic, '__builtin__.getattr'),
    np.ndarray,
    np.dtype,
    np._core.multiarray._reconstruct,
    np._core.multiarray.scalar,
    type(np.dtype(np.float64)),
    type(np.dtype(np.float32)),
    type(np.dtype(np.int64)),
    type(np.dtype(np.int32)),
    type(np.dtype(np.bool_)),
    type(np.dtype('U1')),
]


def read_checkpoint(path: str | Path, map_location: str = 'cpu') -> dict:
    """Read a checkpoint without ever running code it brings.

    mmengine's loader retries with full unpickling when the safe load fails; a hostile file then
    runs code. This one refuses.

    Args:
        path: A local ``.pth`` or ``.safetensors`` file.
        map_location: Where its tensors go.

    Returns:
        dict: The checkpoint; with ``state_dict`` also where the file holds bare weights.

    Raises:
        CheckpointError: No such file, an unreadable or truncated one, one that holds anything but
            tensors and plain data, or no weights at all.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'There is no checkpoint at {path}.')
    if path.suffix == '.safetensors':
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(state_dict=load_file(path, device=str(map_location)))
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f'{path} cannot be read as a checkpoint. ({error})') from error
    try:
        with torch.serialization.safe_globals(SAFE_GLOBALS):
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f'{path} cannot be read as a checkpoint. It is truncated, not a checkpoint, or holds '
            f'more than tensors and plain data, which is never unpickled here. ({reason})'
        ) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{path} holds a {type(checkpoint).__name__}, not a dict of weights.')
    if 'state_dict' not in checkpoint and _is_state(checkpoint.get('model')):
        checkpoint['state_dict'] = checkpoint.pop('model')  # as Facebook's MAE and timm store it
    if 'state_dict' not in checkpoint:
        if not _is_state(checkpoint):
            keys = ', '.join(list(map(str, checkpoint))[:5]) or 'nothing'
            raise CheckpointError(f'{path} has no state_dict; it holds {keys}.')
        checkpoint = dict(state_dict=checkpoint)
    return checkpoint


def misfit(path: str | Path, model: nn.Module, error: RuntimeError) -> CheckpointError:
    """What torch says of a state that does not fit a model, as one line that says what to do."""
    lines = [' '.join(line.split()).rstrip('.') for line in str(error).splitlines() if line.strip()]
    return CheckpointError(
        f'{path} does not fit {type(model).__name__} as this config describes it. '
        f'{"; ".join(line[:300] for line in lines[1:4])}. Choose the config that trained the '
        'checkpoint.'
    )


def _is_state(content) -> bool:
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(value, Tensor) for value in content.values())
    )
