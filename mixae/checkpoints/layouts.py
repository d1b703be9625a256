"""Finding the encoder in a checkpoint of another project, and renaming it.

A checkpoint may hold several encoders (student and teacher), each below a prefix of its own, and
name its parameters as timm, Hugging Face, mmpretrain or CLIP do. :func:`find_encoder` returns one
of them with the prefix removed, and :func:`to_timm` gives it the names that timm reads. What only
one of timm's models knows (registers, SwiGLU, other position embeddings) is left to timm's own
``checkpoint_filter_fn``.
"""

import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from mixae.checkpoints.key_mappings import TIMM_VIT
from mixae.checkpoints.read import shorten
from mixae.errors import CheckpointError

# The first parameter of an encoder, by layout. What comes before it is the encoder's prefix.
ROOTS = {
    'timm': r'(.*?)(?:patch_embed\.proj\.weight|stem\.0\.weight)',
    'Hugging Face': r'(.*?)embeddings\.patch_embeddings\.projection\.weight',
    'mmpretrain': r'(.*?)patch_embed\.projection\.weight',
    'CLIP': r'(.*?)conv1\.weight',  # where there is also a class_embedding
}
# Of Hugging Face's ViT, ViTMAE and DINOv2: what is renamed, in this order. Query, key and value are
# joined afterwards.
HUGGING_FACE = (
    (r'^embeddings\.patch_embeddings\.projection\.', 'patch_embed.proj.'),
    (r'^embeddings\.position_embeddings$', 'pos_embed'),
    (r'^embeddings\.', ''),  # cls_token, mask_token, register_tokens
    (r'^layernorm\.', 'norm.'),
    (r'^encoder\.layer\.', 'blocks.'),
    (r'\.attention\.attention\.', '.attn.'),
    (r'\.attention\.output\.dense\.', '.attn.proj.'),
    (r'\.layernorm_before\.', '.norm1.'),
    (r'\.layernorm_after\.', '.norm2.'),
    (r'\.intermediate\.dense\.', '.mlp.fc1.'),
    (r'\.output\.dense\.', '.mlp.fc2.'),
    (r'\.layer_scale(\d)\.lambda1$', r'.ls\1.gamma'),
    (r'\.mlp\.weights_in\.', '.mlp.w12.'),
    (r'\.mlp\.weights_out\.', '.mlp.w3.'),
)
# Entries of a checkpoint that hold weights of their own, next to or in place of 'state_dict'.
ENTRIES = ('student', 'teacher', 'model_ema', 'state_dict_ema', 'ema', 'target_encoder', 'encoder')
# Parts of an encoder that no feature depends on.
NO_FEATURES = re.compile(
    r'(head|head_dist|fc|classifier|lm_head|pooler|attn_pool|projector|predictor)\..*'
    r'|decoder.*|mask_token|.*relative_position_index|.*\.attn_mask'
)


def find_encoder(
    content: dict, path: str, part: str | None = None
) -> tuple[dict[str, Tensor], str, list[str]]:
    """One encoder of a checkpoint, in a layout that timm reads.

    Args:
        content (dict): What :func:`~mixae.checkpoints.read.read_checkpoint` returned.
        path (str): The checkpoint, for messages.
        part (str, optional): Which encoder to take where there are several, for example
            'teacher'. Defaults to None: there must be one, or one that is the ``backbone`` of an
            mmpretrain algorithm.

    Returns:
        The encoder's parameters without their prefix, the name of their layout, and the keys of
        the checkpoint that belong to no encoder or to another one.

    Raises:
        CheckpointError: No encoder, several without a ``part``, or none with that name; weights
            that are only differences (LoRA); a text model.
    """
    state = {key.replace('_orig_mod.', ''): value for key, value in content['state_dict'].items()}
    for entry in ENTRIES:
        weights = content.get(entry)
        if isinstance(weights, dict) and all(isinstance(v, Tensor) for v in weights.values()):
            state |= {f'{entry}.{key}': value for key, value in weights.items()}
    if any('lora_' in key for key in state):
        raise CheckpointError(
            f'{path} holds LoRA weights, which are differences from another checkpoint: merge them '
            'into that one first.'
        )
    prefix, layout = _choose(_roots(state), state, path, part)
    encoder = {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }
    others = [key for key in state if not key.startswith(prefix)]
    return encoder, layout, others


def to_timm(encoder: dict[str, Tensor], layout: str) -> dict[str, Tensor]:
    """An encoder of :func:`find_encoder` under the names that timm's models read."""
    return _CONVERT[layout](encoder)


def _roots(state: Mapping[str, Tensor]) -> dict[str, str]:
    """The prefix of each encoder and its layout."""
    found = {}
    for layout, pattern in ROOTS.items():
        for key in state:
            match = re.fullmatch(pattern, key)
            if match and (layout != 'CLIP' or f'{match[1]}class_embedding' in state):
                if not re.search(r'(^|\.)decoder\.', match[1]):
                    found[match[1]] = layout
    return found


def _name(prefix: str) -> str:
    """What a person calls an encoder with this prefix."""
    words = [word for word in prefix.split('.') if word not in ('module', 'backbone', 'model', '')]
    return '.'.join(words) or prefix.strip('.') or 'encoder'


def _choose(
    roots: dict[str, str], state: Mapping[str, Tensor], path: str, part: str | None
) -> tuple[str, str]:
    names = {_name(prefix): prefix for prefix in roots}
    if part is not None:
        if part not in names:
            there = ', '.join(names) or 'none'
            raise CheckpointError(f'{path} has no encoder named {part!r}. There are: {there}.')
        return names[part], roots[names[part]]
    # mmpretrain's algorithms export their backbone; a momentum encoder is a copy of it.
    own = [prefix for prefix in roots if prefix.removeprefix('module.') == 'backbone.']
    prefixes = own or list(roots)
    if len(prefixes) > 1:
        raise CheckpointError(
            f'{path} holds {len(prefixes)} encoders: {", ".join(names)}. Choose one: '
            f'model.backbone.pretrained_part={next(iter(names))}.'
        )
    if prefixes:
        return prefixes[0], roots[prefixes[0]]
    if any('token_embedding' in key or 'word_embeddings' in key for key in state):
        raise CheckpointError(f'{path} holds a text model and no image encoder.')
    # No known first parameter: not a ViT, or one that lacks its patch embedding.
    for prefix in ('backbone.', 'module.backbone.'):
        if any(key.startswith(prefix) for key in state):
            return prefix, 'mmpretrain'
    for prefix in ('module.', 'backbone.', 'model.'):
        if all(key.startswith(prefix) for key in state):
            return prefix, 'timm'
    return '', 'timm'


def _of_timm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    blocks = [key for key in state if key.startswith('blocks.')]
    if blocks and all(re.match(r'blocks\.\d+\.\d+\.', key) for key in blocks):
        # DINOv2's training keeps its blocks in chunks; the second number counts through.
        state = {re.sub(r'^blocks\.\d+\.(\d+)\.', r'blocks.\1.', k): v for k, v in state.items()}
    return state


def _of_mmpretrain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed, unknown = TIMM_VIT.from_ours(state)
    return renamed | {key: state[key] for key in unknown}  # the load names them


def _of_hugging_face(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for key, value in state.items():
        for pattern, name in HUGGING_FACE:
            key = re.sub(pattern, name, key)
        renamed[key] = value
    for query in [key for key in renamed if '.attn.query.' in key]:
        parts = [query.replace('query', name) for name in ('query', 'key', 'value')]
        if all(name in renamed for name in parts):
            renamed[query.replace('query', 'qkv')] = torch.cat([renamed.pop(n) for n in parts])
    return renamed


def _of_clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f'visual.{key}': value for key, value in state.items()}  # as timm's filter expects


_CONVERT = {
    'timm': _of_timm,
    'Hugging Face': _of_hugging_face,
    'mmpretrain': _of_mmpretrain,
    'CLIP': _of_clip,
}


def misfits(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor], allow: Collection[str] = ()
) -> str:
    """Which weights do not fit a model's, by kind, in words; '' where all do.

    Args:
        given (Mapping): The weights of a checkpoint.
        expected (Mapping): Those of the model.
        allow (Collection[str]): Keys that may be missing or unexpected.
    """
    kinds = {
        'missing keys': set(expected) - set(given) - set(allow),
        'unexpected keys': set(given) - set(expected) - set(allow),
        'keys of another shape': {
            f'{k}: {tuple(given[k].shape)} in the checkpoint, {tuple(expected[k].shape)} in the '
            'model'
            for k in set(given) & set(expected)
            if given[k].shape != expected[k].shape
        },
    }
    return '. '.join(
        f'{len(keys)} {kind}: {shorten(sorted(keys))}' for kind, keys in kinds.items() if keys
    )
