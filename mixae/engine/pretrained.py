"""Reading checkpoints safely, and loading encoders with the load checked."""

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from mixae.engine.key_mappings import READABLE, find_mapping


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

# Keys that a protocol may lack or bring: the final norm is dropped or fresh with average pooling.
FINAL_NORM = ('ln1.weight', 'ln1.bias', 'ln2.weight', 'ln2.bias')


class CheckpointError(ValueError):
    """A checkpoint that is not what the run needs."""


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


def encoder_state(checkpoint: dict, path: str | Path = 'the checkpoint') -> dict[str, Tensor]:
    """The encoder's weights in a checkpoint *as it was saved*: its ``backbone.`` keys, bare.

    Checkpoints of other projects are taken by the named mappings of
    :mod:`mixae.engine.key_mappings`.

    Raises:
        CheckpointError: If there is no ``backbone.`` key and no mapping fits, or one that fits
            does not know every key.
    """
    state = {k.removeprefix('module.'): v for k, v in checkpoint['state_dict'].items()}
    encoder = {
        k.removeprefix('backbone.'): v for k, v in state.items() if k.startswith('backbone.')
    }
    if encoder:
        return encoder
    mapping = find_mapping(state)
    if mapping is None:
        known = ' or '.join(m.name for m in READABLE)
        raise CheckpointError(
            f'{path} has no encoder: none of its {len(state)} keys starts with "backbone.", nor '
            f'are they those of {known} (the first: {", ".join(list(state)[:3])}).'
        )
    encoder, unknown = mapping.to_ours(state)
    if unknown:
        raise CheckpointError(
            f'{path} is named like {mapping.name}, but {len(unknown)} of its keys are not of a '
            f'plain ViT: {", ".join(unknown[:8])}{", ..." if len(unknown) > 8 else ""}.'
        )
    print_log(f'The keys of {path} are those of {mapping.name} and read as ours.', logger='current')
    return encoder


def load_encoder(
    module: nn.Module,
    checkpoint: str | Path,
    *,
    allow: tuple[str, ...] = FINAL_NORM,
) -> dict:
    """Load the encoder of a pre-training checkpoint, and check the load.

    A missing, unexpected or misshapen key stops the run with its name. Exceptions: the names in
    ``allow``, and a ``pos_embed`` of another grid, which is resampled as timm does it and logged.

    Args:
        module (nn.Module): A :class:`MaskedViT`.
        checkpoint (str | Path): The checkpoint as pre-training saved it.
        allow (tuple[str, ...]): Keys that may be missing or unexpected. Defaults to the final
            norm, which average pooling drops or replaces by a fresh one.

    Returns:
        dict: The checkpoint's other entries (``meta``, ``mixae``: its provenance).

    Raises:
        CheckpointError: As above, or as :func:`read_checkpoint` and :func:`encoder_state` do.
    """
    content = read_checkpoint(checkpoint)
    state = encoder_state(content, checkpoint)
    expected = module.state_dict()
    if 'pos_embed' in state and 'pos_embed' in expected:
        state['pos_embed'] = fit_pos_embed(state['pos_embed'], module, checkpoint)
    missing = sorted(set(expected) - set(state) - set(allow))
    unexpected = sorted(set(state) - set(expected) - set(allow))
    misshapen = sorted(
        f'{k}: {tuple(state[k].shape)} in the checkpoint, {tuple(expected[k].shape)} in the model'
        for k in set(state) & set(expected)
        if state[k].shape != expected[k].shape
    )
    problems = [
        f'{len(keys)} {what}: {", ".join(keys[:8])}{", ..." if len(keys) > 8 else ""}'
        for what, keys in (
            ('missing keys', missing),
            ('unexpected keys', unexpected),
            ('keys of another shape', misshapen),
        )
        if keys
    ]
    if problems:
        raise CheckpointError(
            f'{checkpoint} does not fit {type(module).__name__}. ' + '. '.join(problems) + '. '
            'Choose the config of the architecture that was pre-trained.'
        )
    fresh = sorted(k for k in allow if k in expected and k not in state)
    dropped = sorted(k for k in allow if k in state and k not in expected)
    module.load_state_dict({k: v for k, v in state.items() if k in expected}, strict=False)
    print_log(
        f'Loaded the encoder of {checkpoint}: {len(set(state) & set(expected))} keys'
        + (f', fresh: {", ".join(fresh)}' if fresh else '')
        + (f', dropped: {", ".join(dropped)}' if dropped else '')
        + '.',
        logger='current',
    )
    return {k: v for k, v in content.items() if k != 'state_dict'}


def fit_pos_embed(
    pos_embed: Tensor, module: nn.Module, checkpoint: str | Path = 'the checkpoint'
) -> Tensor:
    """A position embedding at the grid of a :class:`MaskedViT`, resampled as timm does it.

    Args:
        pos_embed (Tensor): Of a square grid, (1, 1 + L, D).
        module (nn.Module): The encoder.
        checkpoint (str | Path): Where it comes from; a warning names it.

    Returns:
        Tensor: (1, 1 + L', D). Unchanged where it fits already, or cannot be made to fit.
    """
    fitting = module.pos_embed.shape
    if pos_embed.shape == fitting or pos_embed.shape[2:] != fitting[2:]:
        return pos_embed  # a different width is reported with the misshapen keys
    prefix = module.num_extra_tokens
    side = round((pos_embed.shape[1] - prefix) ** 0.5)
    if side * side + prefix != pos_embed.shape[1]:
        return pos_embed
    grid = module.patch_resolution
    print_log(
        f'pos_embed of {checkpoint} is resampled from {side}x{side} to {grid[0]}x{grid[1]}.',
        logger='current',
        level=logging.WARNING,
    )
    return resample_abs_pos_embed(
        pos_embed, new_size=list(grid), old_size=[side, side], num_prefix_tokens=prefix
    )
