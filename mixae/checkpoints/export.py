"""A pre-trained encoder in the layouts of timm, Hugging Face and mmpretrain."""

import json
import re
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from mixae.checkpoints.key_mappings import HUGGING_FACE_VIT, TIMM_VIT
from mixae.checkpoints.load import check_weights, encoder_state, saved_grid
from mixae.checkpoints.read import read_checkpoint, shorten
from mixae.errors import CheckpointError, ConfigError
from mixae.files import replace_whole, write_whole

LAYOUTS = ('timm', 'huggingface', 'mmpretrain')


def export(
    checkpoint: str | Path, layout: str, out: str | Path, *, num_heads: int | None = None
) -> Path:
    """Write the encoder of a pre-training checkpoint for another library.

    - ``timm``: the weights of a ``VisionTransformer`` (class token, ``num_classes=0``), one file.
    - ``huggingface``: a folder with ``config.json`` and ``model.safetensors``, which
      ``ViTModel.from_pretrained(folder, add_pooling_layer=False)`` loads.
    - ``mmpretrain``: ``backbone.`` keys of a ``VisionTransformer`` in a classifier, one file;
      mmengine's own loader reads ``.pth`` only, and so that ending is taken here too.

    Args:
        checkpoint: Ours as it was saved, or another project's that
            :func:`mixae.checkpoints.load.encoder_state` reads.
        layout: One of 'timm', 'huggingface', 'mmpretrain'.
        out: The file (``.safetensors``; for mmpretrain also ``.pth``), or the folder.
        num_heads: Attention heads, which Hugging Face's config must state and weights do not tell.
            Defaults to one for each 64 channels, which holds for ViT-Ti, S, B, L.

    Returns:
        Path: ``out``.

    Raises:
        CheckpointError: An unreadable checkpoint, one without an encoder, with parts of one
            missing (a detector's has no final norm), of another shape or not finite, or that the
            layout has no place for.
        ConfigError: An unknown layout or ending, heads that do not divide the width, or an
            ``out`` that is the checkpoint itself.
        OutputError: ``out`` cannot be written; what was there before is left.
    """
    out = Path(out)
    if layout not in LAYOUTS:
        raise ConfigError(f'layout={layout!r} is unknown: choose one of {", ".join(LAYOUTS)}.')
    endings = {
        'timm': ('.safetensors',),
        'huggingface': ('',),
        'mmpretrain': ('.safetensors', '.pth'),
    }[layout]
    if out.suffix not in endings:
        expected = 'a folder' if layout == 'huggingface' else ' or '.join(endings)
        raise ConfigError(f'--out {out}: the layout {layout} is written as {expected}.')
    if num_heads is not None and layout != 'huggingface':
        raise ConfigError(f'--num-heads {num_heads}: the layout {layout} states none.')
    content = read_checkpoint(checkpoint)
    state = encoder_state(content, checkpoint)
    rows, columns = saved_grid(content) or (1, 1)
    if layout == 'huggingface' and rows != columns:
        raise ConfigError(
            f'{checkpoint} has a grid of {rows}x{columns} patches; the layout huggingface states '
            'the side of a square image.'
        )
    _check_complete(state, checkpoint)
    check_weights(state, checkpoint)
    state = {key: value.contiguous() for key, value in state.items()}
    if layout == 'mmpretrain':
        _save({f'backbone.{key}': value for key, value in state.items()}, out, checkpoint)
        return out
    if layout == 'timm':
        theirs, unknown = TIMM_VIT.from_ours(state)
        _check(unknown, layout, checkpoint)
        _save(theirs, out, checkpoint)
        return out
    theirs, unknown = HUGGING_FACE_VIT.from_ours(_split_qkv(state))
    _check(unknown, layout, checkpoint)
    config = hugging_face_config(state, num_heads)
    weights = out / 'model.safetensors'
    _check_other(weights, checkpoint)
    with replace_whole(weights) as draft:
        save_file(theirs, draft, metadata=dict(format='pt'))
        # An earlier export's does not describe these: a kill leaves none, which transformers says.
        (out / 'config.json').unlink(missing_ok=True)
    write_whole(out / 'config.json', json.dumps(config, indent=2) + '\n')
    return out


def _check_other(out: Path, checkpoint: str | Path) -> None:
    if out.exists() and out.samefile(checkpoint):
        raise ConfigError(f'--out {out} is the checkpoint itself: name another file.')


def _save(state: dict[str, Tensor], out: Path, checkpoint: str | Path) -> None:
    _check_other(out, checkpoint)
    with replace_whole(out) as draft:
        if out.suffix == '.pth':
            torch.save(dict(state_dict=state), draft)
        else:
            save_file(state, draft, metadata=dict(format='pt'))


def hugging_face_config(state: dict[str, Tensor], num_heads: int | None = None) -> dict:
    """The ``ViTConfig`` of an encoder's weights.

    Raises:
        ConfigError: ``num_heads`` does not divide the width, or is needed and was not given; a grid
            that is not square, which weights do not tell the sides of.
    """
    projection = state['patch_embed.projection.weight']
    width, _, patch_size, _ = projection.shape
    if num_heads is None and width % 64:
        raise ConfigError(f'An encoder {width} wide: give its number of attention heads.')
    num_heads = width // 64 if num_heads is None else num_heads
    if num_heads < 1 or width % num_heads:
        raise ConfigError(f'{num_heads} heads do not divide a width of {width}.')
    depth = 1 + max(int(key.split('.')[1]) for key in state if key.startswith('layers.'))
    num_patches = state['pos_embed'].shape[1] - 1
    side = round(num_patches**0.5)
    if side * side != num_patches:
        raise ConfigError(
            f'A position embedding of {num_patches} patches is not of a square image.'
        )
    return dict(
        architectures=['ViTModel'],
        model_type='vit',
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=num_heads,
        intermediate_size=state['layers.0.ffn.layers.0.0.weight'].shape[0],
        hidden_act='gelu',
        layer_norm_eps=1e-6,
        image_size=side * patch_size,
        patch_size=patch_size,
        num_channels=projection.shape[1],
        qkv_bias='layers.0.attn.qkv.bias' in state,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def _split_qkv(state: dict[str, Tensor]) -> dict[str, Tensor]:
    apart = {}
    for key, value in state.items():
        if '.attn.qkv.' not in key:
            apart[key] = value
            continue
        for part, rows in zip(('query', 'key', 'value'), value.chunk(3), strict=True):
            apart[key.replace('.qkv.', f'.{part}.')] = rows.contiguous()
    return apart


def _check_complete(state: dict[str, Tensor], checkpoint: str | Path) -> None:
    """A library that loads what is missing as random weights, as some do, says so at best."""
    needed = ['cls_token', 'pos_embed', 'patch_embed.projection.weight']
    missing = [key for key in needed if key not in state or state[key].ndim not in (3, 4)]
    if missing:
        raise CheckpointError(
            f'{checkpoint} has no ViT as its encoder: {", ".join(missing)} missing; the first '
            f'keys: {shorten(state, 3)}.'
        )
    if 'ln1.weight' not in state and 'ln2.weight' not in state:
        raise CheckpointError(
            f'{checkpoint}: its encoder has no final norm, as in detectors and segmentors, and '
            'would get a random one. Export the pre-training checkpoint that it started from.'
        )
    wrong = [
        f'{key} {tuple(state[key].shape) if key in state else "missing"} for {shape}'
        for key, shape in _expected_shapes(state).items()
        if key not in state or state[key].shape != shape
    ]
    if wrong:
        raise CheckpointError(
            f'{checkpoint}: the parts of its encoder do not fit each other: {shorten(wrong, 3)}.'
        )


def _expected_shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shapes of a ViT as wide as the patch embedding and as deep as the last layer."""
    projection = state['patch_embed.projection.weight']
    width = len(projection)
    hidden = len(state.get('layers.0.ffn.layers.0.0.weight', ()))
    layer = {
        'ln1': (width,),
        'attn.qkv': (3 * width, width),
        'attn.proj': (width, width),
        'ln2': (width,),
        'ffn.layers.0.0': (hidden, width),
        'ffn.layers.1': (width, hidden),
    }
    numbers = [int(found[1]) for key in state if (found := re.match(r'layers\.(\d+)\.', key))]
    modules = {
        f'layers.{number}.{name}': shape
        for number in range(max(numbers, default=0) + 1)
        for name, shape in layer.items()
    }
    modules |= {norm: (width,) for norm in ('ln1', 'ln2') if f'{norm}.weight' in state}
    modules['patch_embed.projection'] = tuple(projection.shape)
    shapes = {'cls_token': (1, 1, width), 'pos_embed': (1, state['pos_embed'].shape[1], width)}
    shapes |= {f'{name}.weight': shape for name, shape in modules.items()}
    shapes |= {f'{name}.bias': shape[:1] for name, shape in modules.items()}
    if not any(key.endswith('attn.qkv.bias') for key in state):  # as some are trained
        shapes = {k: v for k, v in shapes.items() if not k.endswith('attn.qkv.bias')}
    return shapes


def _check(unknown: list[str], layout: str, checkpoint: str | Path) -> None:
    if unknown:
        raise CheckpointError(
            f'{checkpoint}: the layout {layout} has no place for {shorten(unknown)}.'
        )
