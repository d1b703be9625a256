"""Encoders of timm in every transfer task.

Shape legend: B images, P prefix tokens (class token, registers), L patches, D width, H x W the
grid of patches.
"""

import sys
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from timm.models import group_parameters
from torch import Tensor, nn

from mixae.checkpoints.layouts import NO_FEATURES, find_encoder, misfits, to_timm
from mixae.checkpoints.load import check_weights
from mixae.checkpoints.read import read_checkpoint
from mixae.errors import CheckpointError, ConfigError
from mixae.models.backbones.timm_models import create, described, download
from mixae.registry import MODELS

OUT_TYPES = ('raw', 'cls_token', 'avg_featmap', 'featmap')
HUB = 'hub'  # `pretrained='hub'` downloads the weights that the model's name stands for
FINAL_NORMS = ('norm', 'fc_norm')


@MODELS.register_module()
class TimmEncoder(BaseModule):
    """An image encoder of timm as a backbone, by its name.

    ``dict(type='mixae.TimmEncoder', model='vit_small_patch14_dinov2.lvd142m', pretrained='hub')``
    takes the place of a :class:`MaskedViT` in every transfer config. Plain ViTs give a class token,
    an average or a feature map of any of their layers; hierarchical encoders (Swin, ConvNeXt) give
    the maps of their stages. Images may have any size: those that are no multiple of the coarsest
    stride are padded with zeros (the mean colour) at the bottom and right. (BEiT's relative
    positions fit one size only: ``img_size``.) Mean and standard
    deviation of the data preprocessor become those that the encoder was trained with.

    Args:
        model (str): A name of ``timm.list_models()``, with or without the tag of its weights and
            the prefix 'timm:', or 'hf-hub:USER/NAME' (this needs the network).
        out_type (str): 'raw' (all tokens), 'cls_token', 'avg_featmap' (the mean over patches) or
            'featmap'. Defaults to 'raw'.
        out_indices (int | Sequence[int]): Layers, or stages of a hierarchical encoder, that are
            returned. Defaults to -1, the last.
        final_norm (bool): The encoder's own final norm. False drops it; 'avg_featmap' then has a
            fresh one behind the mean, as MAE fine-tunes. Hierarchical encoders keep theirs.
            Defaults to True.
        norm_outputs (bool): The final norm on every one of ``out_indices``, not only on the last
            layer. Defaults to False.
        img_size (int, optional): Pixels; the position embedding is resampled to it once. Defaults
            to None, the encoder's own.
        drop_path_rate (float): Stochastic depth. Defaults to 0.
        frozen (bool): No gradient, and evaluation mode throughout. Defaults to False.
        with_cp (bool): Recompute activations in the backward pass. Defaults to False.
        pretrained (str, optional): A local checkpoint of any layout that
            :mod:`mixae.checkpoints.layouts` knows, or 'hub' for timm's weights of that name.
            Defaults to None: random weights.
        pretrained_part (str, optional): Which encoder to load where the checkpoint holds several,
            for example 'teacher'. Defaults to None.
        model_args (dict, optional): Further arguments of ``timm.create_model``, for example
            ``patch_size=16`` for a model of patch 14 (the embedding is resampled).
        init_cfg (dict, optional): Not used.

    Raises:
        ConfigError: An unknown model, a feature that it does not have, no network where one is
            needed.
    """

    def __init__(
        self,
        model: str,
        *,
        out_type: str = 'raw',
        out_indices: int | Sequence[int] = -1,
        final_norm: bool = True,
        norm_outputs: bool = False,
        img_size: int | None = None,
        drop_path_rate: float = 0.0,
        frozen: bool = False,
        with_cp: bool = False,
        pretrained: str | None = None,
        pretrained_part: str | None = None,
        model_args: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        self.name = model
        args = dict(model_args or {})
        if img_size is not None:
            args['img_size'] = img_size
        if drop_path_rate:
            args['drop_path_rate'] = drop_path_rate
        self.model = create(model, args)
        info = self.model.feature_info
        depth = len(info)
        indices = [out_indices] if isinstance(out_indices, int) else list(out_indices)
        self.out_indices = _check_indices(indices, depth)
        self.out_type = out_type
        self.is_plain = hasattr(self.model, 'num_prefix_tokens')
        self.num_extra_tokens = self.model.num_prefix_tokens if self.is_plain else 0
        self.has_class_token = _has_class_token(self.model)
        _check_out_type(self)
        self.width = self.model.num_features
        self.stride = max(_of(layer, 'reduction') for layer in info)
        self.norm_outputs = norm_outputs
        self.fresh_norm = None
        if self.is_plain and not final_norm:
            if norm_outputs:
                raise ConfigError('norm_outputs=True needs the final norm: final_norm=True.')
            for norm in FINAL_NORMS:
                if hasattr(self.model, norm):
                    setattr(self.model, norm, nn.Identity())
            if out_type == 'avg_featmap':
                self.fresh_norm = nn.LayerNorm(self.width, eps=1e-6)
        if with_cp:
            self.model.set_grad_checkpointing(True)
        self.pretrained = pretrained
        self.pretrained_part = pretrained_part
        self.frozen = frozen
        if frozen:
            self.requires_grad_(False)
            self.eval()

    @classmethod
    def dimensions(cls, options: dict) -> dict:
        """What follows from an encoder's config; see :meth:`MaskedViT.dimensions`.

        Returns:
            dict: width, depth, num_patches, patch_size (the coarsest stride of a hierarchical
            encoder), img_size, out_channels, num_extra_tokens (before the patches) and
            has_class_token (whether the first of them is one).
        """
        model = described(options)
        info = model.feature_info
        indices = options.get('out_indices', -1)
        indices = [indices] if isinstance(indices, int) else list(indices)
        img_size = options.get('img_size') or model.pretrained_cfg['input_size'][-1]
        stride = max(_of(layer, 'reduction') for layer in info)
        return dict(
            width=model.num_features,
            depth=len(info),
            num_patches=(-(-img_size // stride)) ** 2,
            patch_size=stride,
            img_size=img_size,
            out_channels=[_of(info[i], 'num_chs') for i in _check_indices(indices, len(info))],
            num_extra_tokens=getattr(model, 'num_prefix_tokens', 0),
            has_class_token=_has_class_token(model),
        )

    @classmethod
    def derive(cls, options: dict, facts) -> None:
        """The data preprocessor's mean and standard deviation are the encoder's.

        Weights of the hub are downloaded here, so that the record has the hash of their file.
        """
        model = described(options)
        if options.get('pretrained') == HUB:
            options['pretrained'] = facts.cfg.pretrained = download(options['model'])
        if options.get('out_indices') == 'auto':
            depth = len(model.feature_info)
            plain = hasattr(model, 'num_prefix_tokens')
            shares = (1 / 3, 1 / 2, 2 / 3, 1)
            options['out_indices'] = (
                [round(depth * share) - 1 for share in shares] if plain else list(range(depth))[-4:]
            )
        preprocessor = facts.cfg.get('model', {}).get('data_preprocessor')
        if preprocessor is None or 'mean' not in preprocessor:
            return
        for key in ('mean', 'std'):
            values = [round(255 * value, 6) for value in model.pretrained_cfg[key]]
            if any(abs(a - b) > 0.01 for a, b in zip(values, preprocessor[key], strict=True)):
                facts.note(f'data_preprocessor.{key} is that of {options["model"]}: {values}.')
                preprocessor[key] = values

    def init_weights(self) -> None:
        """Load ``pretrained``; timm's models initialise themselves when they are built."""
        if self.pretrained is not None:
            path = download(self.name) if self.pretrained == HUB else self.pretrained
            state, layout, _ = find_encoder(read_checkpoint(path), path, self.pretrained_part)
            self.load(to_timm(state, layout), path, layout)

    def load(self, state: dict[str, Tensor], source: str, layout: str = 'timm') -> None:
        """Load an encoder's weights, and check the load.

        Args:
            state (dict): Weights under names that timm reads.
            source (str): Where they come from, for messages.
            layout (str): The layout that they had, for the log.

        Raises:
            CheckpointError: A key that is missing, unexpected or of another shape.
        """
        convert = getattr(sys.modules[type(self.model).__module__], 'checkpoint_filter_fn', None)
        if convert is not None:
            try:
                state = convert(dict(state), self.model)
            except (KeyError, RuntimeError, ValueError, AttributeError) as error:
                raise CheckpointError(
                    f'{source} does not fit {self.name}: timm cannot convert it '
                    f'({type(error).__name__}: {error}).'
                ) from error
        own = self.model.state_dict()
        allowed = {f'{norm}.{leaf}' for norm in FINAL_NORMS for leaf in ('weight', 'bias')}
        kept_norm = any(key in own for key in allowed)
        dropped = [
            key
            for key in state
            if key not in own and (NO_FEATURES.fullmatch(key) or (key in allowed and not kept_norm))
        ]
        state = {key: value for key, value in state.items() if key not in dropped}
        check_weights(state, source, self.model)
        if problems := misfits(state, own):
            raise CheckpointError(
                f'{source} does not fit {self.name}. {problems}. Choose the model that was trained.'
            )
        self.model.load_state_dict(state)
        print_log(
            f'Loaded {self.name} from {source} (layout: {layout}): {len(state)} keys'
            + (f', dropped: {", ".join(sorted(dropped)[:8])}' if dropped else '')
            + '.',
            logger='current',
        )

    def train(self, mode: bool = True) -> 'TimmEncoder':
        return super().train(mode and not self.frozen)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Encode images, (B, C, H, W), of any size.

        Returns:
            tuple: One feature for each of ``out_indices``: 'raw' (B, P + L, D), 'cls_token' and
            'avg_featmap' (B, D), 'featmap' (B, D, H, W).
        """
        return self.features(x)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """As :meth:`forward`, under the name that :class:`MaskedViT` has for it."""
        bottom, right = (-size % self.stride for size in x.shape[-2:])
        x = F.pad(x, (0, right, 0, bottom))
        embed = getattr(self.model, 'patch_embed', None)
        fixed = embed.img_size if getattr(embed, 'strict_img_size', False) else None
        if fixed is not None and x.shape[-2:] != tuple(fixed):
            raise ConfigError(
                f'{self.name} takes images of {fixed[0]}x{fixed[1]} pixels only, for its relative '
                f'positions; got {x.shape[-2]}x{x.shape[-1]}. Set model.backbone.img_size.'
            )
        if self.is_plain:
            return self._plain(x)
        if self.out_type == 'featmap':
            return tuple(self._intermediates(x))
        map_BDHW = self.model.forward_features(x)
        if self.out_type == 'avg_featmap':
            return (self.model.forward_head(map_BDHW, pre_logits=True),)
        if map_BDHW.shape[1] != self.width:  # Swin's is B, H, W, D
            map_BDHW = map_BDHW.permute(0, 3, 1, 2)
        return (map_BDHW.flatten(2).transpose(1, 2),)

    def _intermediates(self, x: Tensor, **options) -> list:
        return self.model.forward_intermediates(
            x,
            indices=self.out_indices,
            norm=False,
            stop_early=True,
            output_fmt='NCHW',
            intermediates_only=True,
            **options,
        )

    def _plain(self, x: Tensor) -> tuple[Tensor, ...]:
        P = self.num_extra_tokens
        outs = []
        found = self._intermediates(x, return_prefix_tokens=True)
        for index, one in zip(self.out_indices, found, strict=True):
            map_BDHW, prefix_BPD = one if isinstance(one, tuple) else (one, None)
            x_BND = map_BDHW.flatten(2).transpose(1, 2)
            if P:
                x_BND = torch.cat([prefix_BPD, x_BND], dim=1)
            if self.norm_outputs or index == len(self.model.feature_info) - 1:
                x_BND = self.model.norm(x_BND)
            outs.append(self._format(x_BND, map_BDHW.shape[-2:]))
        return tuple(outs)

    def _format(self, x_BND: Tensor, grid: tuple[int, int]) -> Tensor:
        P = self.num_extra_tokens
        match self.out_type:
            case 'raw':
                return x_BND
            case 'cls_token':
                return x_BND[:, 0]
            case 'featmap':
                return x_BND[:, P:].transpose(1, 2).unflatten(2, grid)
        mean_BD = x_BND[:, P:].mean(dim=1)
        if self.fresh_norm is not None:
            return self.fresh_norm(mean_BD)
        return self.model.fc_norm(mean_BD) if hasattr(self.model, 'fc_norm') else mean_BD

    def get_layer_depth(self, name: str, prefix: str = '') -> tuple[int, int]:
        """A parameter's layer by timm's ``group_matcher``, and the number of layers."""
        depths = self._layer_depths
        last = max(depths.values())
        return depths.get(name.removeprefix(f'{prefix}model.'), last), last + 1

    @property
    def _layer_depths(self) -> dict[str, int]:
        matcher = self.model.group_matcher(coarse=False)
        return group_parameters(self.model, matcher, reverse=True)


def _of(layer, key: str):
    return layer[key] if isinstance(layer, dict) else getattr(layer, key)


def _check_indices(indices: list[int], depth: int) -> list[int]:
    if not all(isinstance(i, int) and -depth <= i < depth for i in indices):
        raise ConfigError(f'model.backbone.out_indices={indices}: there are layers 0..{depth - 1}.')
    layers = [i % depth for i in indices]
    if not layers or layers != sorted(set(layers)):  # timm returns each once, in its own order
        raise ConfigError(
            f'model.backbone.out_indices={indices} are the layers {layers} of 0..{depth - 1}: '
            'expected different ones, the first layer first.'
        )
    return layers


def _has_class_token(model: nn.Module) -> bool:
    return getattr(model, 'cls_token', None) is not None


def _check_out_type(encoder: TimmEncoder) -> None:
    out_type, name = encoder.out_type, encoder.name
    if out_type not in OUT_TYPES:
        raise ConfigError(f'out_type={out_type!r}: expected one of {", ".join(OUT_TYPES)}.')
    if out_type == 'cls_token' and not encoder.has_class_token:
        raise ConfigError(f"{name} has no class token: use out_type='avg_featmap' (pool='avg').")
    if not encoder.is_plain and out_type != 'featmap' and len(encoder.out_indices) > 1:
        raise ConfigError(f"{name} is hierarchical: several out_indices need out_type='featmap'.")
