"""The encoder's parameters under the names of other projects.

A mapping is complete: a key that it does not know is refused, so that no other architecture passes
for a plain ViT. :mod:`mixae.checkpoints.layouts` finds the encoder in a checkpoint first.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class KeyMapping:
    """How another project names what our encoder has.

    Args:
        layers (str): The prefix of a layer, before its number.
        tokens (dict): Their parameters outside modules -> ours.
        modules (dict): Their modules outside layers -> ours.
        layer_modules (dict): Their modules in a layer -> ours.
    """

    layers: str
    tokens: Mapping[str, str]
    modules: Mapping[str, str]
    layer_modules: Mapping[str, str]

    def to_ours(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """The encoder under our names, and the keys that have none."""
        tables = self.tokens, self.modules, self.layer_modules
        return _rename_all(state, self.layers, 'layers', *tables)

    def from_ours(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """The encoder under their names, and our keys that have none."""
        tables = self.tokens, self.modules, self.layer_modules
        inverted = [{ours: theirs for theirs, ours in table.items()} for table in tables]
        return _rename_all(state, 'layers', self.layers, *inverted)


def _rename_all(state: Mapping[str, Tensor], *how) -> tuple[dict[str, Tensor], list[str]]:
    """The weights under other names (:func:`_rename`), and the keys that have none."""
    names = {key: _rename(key, *how) for key in state}
    renamed = {name: state[key] for key, name in names.items() if name is not None}
    return renamed, [key for key, name in names.items() if name is None]


def _rename(
    key: str,
    layers: str,
    new_layers: str,
    tokens: Mapping[str, str],
    modules: Mapping[str, str],
    layer_modules: Mapping[str, str],
) -> str | None:
    if key in tokens:
        return tokens[key]
    module, _, leaf = key.rpartition('.')
    if leaf not in ('weight', 'bias'):
        return None
    if module in modules:
        return f'{modules[module]}.{leaf}'
    in_layer = re.fullmatch(rf'{re.escape(layers)}\.(\d+)\.(.+)', module)
    if in_layer and in_layer[2] in layer_modules:
        return f'{new_layers}.{in_layer[1]}.{layer_modules[in_layer[2]]}.{leaf}'
    return None


_TOKENS = dict(cls_token='cls_token', pos_embed='pos_embed')
_TIMM_LAYER = {
    'norm1': 'ln1',
    'norm2': 'ln2',
    'attn.qkv': 'attn.qkv',
    'attn.proj': 'attn.proj',
    'mlp.fc1': 'ffn.layers.0.0',
    'mlp.fc2': 'ffn.layers.1',
}

# timm's VisionTransformer with a class token, which Facebook's MAE is named like.
TIMM_VIT = KeyMapping(
    layers='blocks',
    tokens=_TOKENS,
    modules={'patch_embed.proj': 'patch_embed.projection', 'norm': 'ln1', 'fc_norm': 'ln2'},
    layer_modules=_TIMM_LAYER,
)
# Hugging Face's ViT keeps query, key and value apart; see mixae.checkpoints.export.
HUGGING_FACE_VIT = KeyMapping(
    layers='encoder.layer',
    tokens={
        'embeddings.cls_token': 'cls_token',
        'embeddings.position_embeddings': 'pos_embed',
    },
    modules={
        'embeddings.patch_embeddings.projection': 'patch_embed.projection',
        'layernorm': 'ln1',
    },
    layer_modules={
        'layernorm_before': 'ln1',
        'layernorm_after': 'ln2',
        'attention.attention.query': 'attn.query',
        'attention.attention.key': 'attn.key',
        'attention.attention.value': 'attn.value',
        'attention.output.dense': 'attn.proj',
        'intermediate.dense': 'ffn.layers.0.0',
        'output.dense': 'ffn.layers.1',
    },
)
