"""Loading the encoder of a checkpoint, with the load checked."""

import logging
from collections.abc import Mapping
from pathlib import Path

from mmengine.logging import print_log
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from mixae.checkpoints.account_form import KEY
from mixae.checkpoints.key_mappings import TIMM_VIT
from mixae.checkpoints.layouts import NO_FEATURES, find_encoder, misfits, to_timm
from mixae.checkpoints.read import misfit, read_checkpoint, shorten
from mixae.errors import CheckpointError

# Keys that a protocol may lack or bring: the final norm is dropped or fresh with average pooling.
FINAL_NORM = ('ln1.weight', 'ln1.bias', 'ln2.weight', 'ln2.bias')


def encoder_state(
    checkpoint: dict, path: str | Path = 'the checkpoint', part: str | None = None
) -> dict[str, Tensor]:
    """The encoder's weights in a checkpoint *as it was saved*, under our names.

    Those of a pre-training are its ``backbone.`` keys. Plain ViTs of other projects are found and
    renamed (:mod:`mixae.checkpoints.layouts`).

    Args:
        checkpoint (dict): Of :func:`read_checkpoint`.
        path (str | Path): Where it comes from, for messages.
        part (str, optional): Which encoder, where the checkpoint holds several.

    Raises:
        CheckpointError: No encoder, or one that is no plain ViT; as :func:`find_encoder`.
    """
    state, layout, _ = find_encoder(checkpoint, str(path), part)
    if layout == 'mmpretrain':
        return state
    if any('relative_position_bias_table' in key for key in state):
        raise CheckpointError(
            f'{path} is a BEiT with relative positions, which a plain ViT does not have: evaluate '
            "it with mixae.TimmEncoder, for example model='beit_base_patch16_224'."
        )
    if layout == 'CLIP':
        raise CheckpointError(
            f"{path} is CLIP's visual tower, which has a norm before its layers: evaluate it with "
            "mixae.TimmEncoder, for example model='vit_base_patch16_clip_224'."
        )
    state = to_timm(state, layout)
    if not any(key.startswith('patch_embed.') for key in state):
        raise CheckpointError(
            f'{path} has no encoder: none of its {len(state)} keys starts with "backbone.", nor is '
            f'one the patch embedding of a ViT (the first: {shorten(state, 3)}).'
        )
    encoder, unknown = TIMM_VIT.to_ours(state)
    unknown = [key for key in unknown if not NO_FEATURES.fullmatch(key)]
    if unknown:
        raise CheckpointError(
            f'{path} is named like {layout}, but {len(unknown)} of its keys are not of a plain '
            f'ViT ({shorten(unknown, 3)}): evaluate it with mixae.TimmEncoder, for example '
            "model='vit_small_patch14_dinov2', or tools/evaluate.py --model."
        )
    print_log(f'The keys of {path} are those of {layout} and read as ours.', logger='current')
    return encoder


def load_encoder(
    module: nn.Module,
    checkpoint: str | Path,
    *,
    allow: tuple[str, ...] = FINAL_NORM,
    part: str | None = None,
) -> dict:
    """Load the encoder of a pre-training checkpoint, and check the load.

    A missing, unexpected or misshapen key stops the run with its name. Exceptions: the names in
    ``allow``, and a ``pos_embed`` of another grid, which is resampled as timm does it and logged.

    Args:
        module (nn.Module): A :class:`MaskedViT`.
        checkpoint (str | Path): The checkpoint as pre-training saved it.
        allow (tuple[str, ...]): Keys that may be missing or unexpected. Defaults to the final
            norm, which average pooling drops or replaces by a fresh one.
        part (str, optional): Which encoder, where the checkpoint holds several.

    Returns:
        dict: The checkpoint's other entries (``meta``, ``mixae``: its provenance).

    Raises:
        CheckpointError: As above, or as :func:`read_checkpoint` and :func:`encoder_state` do.
    """
    content = read_checkpoint(checkpoint)
    state = encoder_state(content, checkpoint, part)
    check_weights(state, checkpoint, module)
    expected = module.state_dict()
    if 'pos_embed' in state and 'pos_embed' in expected:
        grid = saved_grid(content)
        state['pos_embed'] = fit_pos_embed(state['pos_embed'], module, checkpoint, grid)
    if problems := misfits(state, expected, allow):
        raise CheckpointError(
            f'{checkpoint} does not fit {type(module).__name__}. {problems}. Choose the config of '
            'the architecture that was pre-trained.'
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


def check_weights(
    state: Mapping[str, Tensor], path: str | Path, model: nn.Module | None = None
) -> None:
    """Make sure that weights are numbers that something was learnt in.

    torch converts integers without a word, and zeros are evaluated like any other weights.

    Args:
        state (Mapping): A model's tensors by their names, or an encoder's.
        path (str | Path): The checkpoint, for the message.
        model (nn.Module, optional): Only those are looked at that are its, and floating-point
            numbers in it: not its counts, nor what it does not load. Defaults to None, all.

    Raises:
        CheckpointError: Weights that are no floating-point numbers or not finite, or a matrix of
            the encoder with nothing but zeros; names the first.
    """
    own = state if model is None else model.state_dict()
    floating = [k for k, v in own.items() if model is None or v.is_floating_point()]
    weights = {k: state[k] for k in floating if k in state}
    encoder = {k: v for k, v in weights.items() if k.startswith('backbone.')} or weights
    matrices = {k: v for k, v in encoder.items() if k.endswith('.weight') and v.ndim > 1}
    for what, keys in (
        ('no floating-point numbers', [k for k, v in weights.items() if not v.is_floating_point()]),
        ('not finite', [k for k, v in weights.items() if not v.isfinite().all()]),
        ('nothing but zeros', [k for k, v in matrices.items() if v.numel() and not v.any()]),
    ):
        if keys:
            raise CheckpointError(
                f'{path} is no trained model: {shorten(keys, 3)} ({len(keys)} of {len(weights)} '
                f'weights) are {what}. Use another checkpoint.'
            )


def load_weights(model: nn.Module, checkpoint: str | Path) -> dict:
    """Load a model from its checkpoint, every key, and check the load.

    Args:
        model (nn.Module): The model of the config that trained the checkpoint.
        checkpoint (str | Path): The checkpoint.

    Returns:
        dict: The checkpoint's other entries.

    Raises:
        CheckpointError: As :func:`read_checkpoint` and :func:`check_weights` do; keys that are
            missing, unexpected or of another shape.
    """
    content = read_checkpoint(checkpoint)
    state = {k.removeprefix('module.'): v for k, v in content.pop('state_dict').items()}
    if 'teacher_sha256' not in model.state_dict():
        state.pop('teacher_sha256', None)  # i-MAE's, of no use without its teacher
    check_weights(state, checkpoint, model)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise misfit(checkpoint, model, error) from error
    return content


def saved_grid(checkpoint: dict) -> tuple[int, int] | None:
    """Rows and columns of an encoder's patches, as our checkpoints tell; None from others."""
    backbone = (checkpoint.get(KEY) or {}).get('backbone') or {}
    sides = [backbone.get(name) for name in ('img_size', 'patch_size')]
    if not all(isinstance(side, int | str) for side in sides):
        return None
    (height, width), (p, q) = (
        map(int, side.split('x')) if isinstance(side, str) else (side, side) for side in sides
    )
    return height // p, width // q


def fit_pos_embed(
    pos_embed: Tensor,
    module: nn.Module,
    checkpoint: str | Path = 'the checkpoint',
    saved: tuple[int, int] | None = None,
) -> Tensor:
    """A position embedding at the grid of a :class:`MaskedViT`, resampled as timm does it.

    Args:
        pos_embed (Tensor): (1, 1 + L, D).
        module (nn.Module): The encoder.
        checkpoint (str | Path): Where it comes from; a warning names it.
        saved (tuple[int, int], optional): Its grid. Defaults to None: not known. It is then
            the module's where it has as many patches, and a square otherwise.

    Returns:
        Tensor: (1, 1 + L', D). Unchanged where it fits already, or cannot be made to fit.
    """
    fitting, grid = module.pos_embed.shape, tuple(module.patch_resolution)
    if pos_embed.shape[2:] != fitting[2:]:
        return pos_embed  # a different width is reported with the misshapen keys
    prefix = module.num_extra_tokens
    if saved is None:
        side = round((pos_embed.shape[1] - prefix) ** 0.5)
        saved = grid if pos_embed.shape == fitting else (side, side)
    if saved == grid or saved[0] * saved[1] + prefix != pos_embed.shape[1]:
        return pos_embed
    print_log(
        f'pos_embed of {checkpoint} is resampled from {saved[0]}x{saved[1]} to '
        f'{grid[0]}x{grid[1]}.',
        logger='current',
        level=logging.WARNING,
    )
    return resample_abs_pos_embed(
        pos_embed, new_size=list(grid), old_size=list(saved), num_prefix_tokens=prefix
    )
