"""The encoder of every method and every transfer task.

Shape legend: B images, L patches an image, V visible patches an image, D width, H x W the grid.
"""

import math
from collections.abc import Callable, Sequence

import torch
from mmpretrain.models import MAEViT
from timm.layers import resample_abs_pos_embed, to_2tuple
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mixae.checkpoints.load import fit_pos_embed, load_encoder
from mixae.errors import ConfigError
from mixae.models.layers.masking import count_visible, draw_order, masks_from_visible
from mixae.models.layers.pos_embed import sincos
from mixae.models.layers.window_attention import window_attention
from mixae.registry import MODELS

ARCHS = {
    # ViT-S as the field knows it; mmpretrain's own 'small' is 768 wide with 8 layers.
    'ti': 'deit-tiny',
    'tiny': 'deit-tiny',
    's': 'deit-small',
    'small': 'deit-small',
}
# For digit scenes: what trains in minutes on a CPU (ours).
MINI = dict(embed_dims=96, num_layers=4, num_heads=3, feedforward_channels=384)


@MODELS.register_module()
class MaskedViT(MAEViT):
    """mmpretrain's ``MAEViT`` that also encodes *given* visible patches, and serves transfer.

    ``MAEViT.forward`` draws its own mask and takes none; MixedAE's groups, i-MAE's teacher and
    every test need to set it. The same class, with the same parameter names, is the backbone of
    classifiers, detectors and segmentors: with ``mask_ratio=None`` it is a plain ViT.

    Args:
        arch (str | dict): As in mmpretrain ('h' is ViT-H), but 's'/'small' is ViT-S (384 wide, 12
            layers, 6 heads) and 'ti'/'tiny' ViT-Ti (192, 12, 3); mmpretrain's 'small' is another
            model. 'mini' (ours) is 96 wide with 4 layers and 3 heads. Defaults to 'b'.
        in_chans (int): Channels of an image. Defaults to 3.
        mask_ratio (float, optional): Share of masked patches when ``forward`` draws the mask
            itself. None: ``forward`` never masks (transfer). Defaults to None.
        train_pos_embed (bool): Train the position embedding, as MAE's fine-tuning does;
            pre-training keeps it at sine-cosine. Defaults to False.
        frozen (bool): No gradient and evaluation mode throughout (linear probes). Defaults to
            False.
        with_cp (bool): Recompute each layer's activations in the backward pass. Defaults to
            False.
        window_size (int, optional): Side of the attention windows in patches. With windows the
            class token takes no part and gets no gradient, as in ViTDet (Li et al. 2022);
            ``out_type`` must be 'featmap'. Defaults to None: global attention in every layer.
        global_layers (Sequence[int], optional): With windows, the layers that keep global
            attention (ViTDet: the last of each quarter). Defaults to None: no layer does.
        norm_outputs (bool): The final norm on every one of ``out_indices``, not on the last layer
            alone, as in the dense probes of iBOT and DINOv2. Defaults to False.
        pretrained (str, optional): A pre-training checkpoint as it was saved; its encoder is
            loaded, and the load checked (:func:`mixae.checkpoints.load.load_encoder`), after
            the weights are initialised. Defaults to None.
        pretrained_part (str, optional): Which encoder to load where the checkpoint holds several,
            for example 'teacher'. Defaults to None.
        **kwargs: Of ``MAEViT``: img_size (of (height, width) where it is not square; what
            pos_embed is kept at, images of any other size are encoded all the same), patch_size,
            out_indices, drop_path_rate, final_norm, out_type ('raw', 'cls_token', 'featmap',
            'avg_featmap'), layer_cfgs, init_cfg, ...
    """

    arch_zoo = {**MAEViT.arch_zoo, 'mini': MINI}

    def __init__(
        self,
        arch: str | dict = 'b',
        *,
        in_chans: int = 3,
        mask_ratio: float | None = None,
        train_pos_embed: bool = False,
        frozen: bool = False,
        with_cp: bool = False,
        window_size: int | None = None,
        global_layers: Sequence[int] | None = None,
        norm_outputs: bool = False,
        pretrained: str | None = None,
        pretrained_part: str | None = None,
        **kwargs,
    ) -> None:
        arch = ARCHS.get(arch, arch) if isinstance(arch, str) else arch
        if mask_ratio is not None and not 0 < mask_ratio < 1:
            raise ValueError(f'mask_ratio={mask_ratio} is outside (0, 1); None never masks.')
        if in_chans < 1:
            raise ValueError(f'in_chans={in_chans}: expected 1 or more.')
        kwargs['patch_cfg'] = {'in_channels': in_chans, **kwargs.get('patch_cfg', {})}
        super().__init__(arch=arch, mask_ratio=mask_ratio, **kwargs)
        if self.interpolate_mode != 'bicubic':
            raise ValueError(
                f'interpolate_mode={self.interpolate_mode!r}: pos_embed is resampled as timm does '
                "it, 'bicubic'."
            )
        self.pos_embed.requires_grad = train_pos_embed
        self.with_cp = with_cp
        self.pretrained = pretrained
        self.pretrained_part = pretrained_part
        self._set_windows(window_size, tuple(global_layers or ()), mask_ratio)
        if norm_outputs and not self.final_norm:
            raise ValueError('norm_outputs=True needs the final norm: final_norm=True.')
        self.norm_outputs = norm_outputs
        self.frozen = frozen
        if frozen:
            self.requires_grad_(False)
            self.eval()

    @classmethod
    def find_arch(cls, name: str) -> dict | None:
        """An architecture by its name, ours or mmpretrain's; None where there is no such name."""
        return cls.arch_zoo.get(ARCHS.get(name, name))

    @classmethod
    def dimensions(cls, options: dict) -> dict:
        """What follows from an encoder's config, before it is built.

        Args:
            options (dict): The encoder's config.

        Returns:
            dict: width, depth, num_patches, grid (rows and columns of patches), patch_size,
            img_size (pixels; an int where it is square), in_chans, and out_channels, the width of
            each feature map.

        Raises:
            ConfigError: An unknown ``arch``, an image that patches do not tile.
        """
        arch = options.get('arch', 'b')
        if not isinstance(arch, dict):
            name = ARCHS.get(str(arch), arch)
            if name not in list(cls.arch_zoo):
                raise ConfigError(
                    f'model.backbone.arch={arch!r} is unknown: choose one of '
                    f'{", ".join(sorted(set(ARCHS) | set(cls.arch_zoo)))}, or give a dict.'
                )
            arch = cls.arch_zoo[name]
        missing = MINI.keys() - arch.keys()
        if missing or arch['embed_dims'] % arch['num_heads'] or arch['embed_dims'] % 4:
            raise ConfigError(
                f'model.backbone.arch={dict(arch)}: expected {", ".join(MINI)}, and embed_dims a '
                'multiple of num_heads, and of 4 for the position embedding.'
            )
        img_size, patch_size = options.get('img_size', 224), options.get('patch_size', 16)
        for name, sides in (('img_size', img_size), ('patch_size', patch_size)):
            if not isinstance(sides, int) and len(sides) != 2:
                raise ConfigError(
                    f'model.backbone.{name}={sides}: expected one number, or (height, width).'
                )
        sides = list(zip(to_2tuple(img_size), to_2tuple(patch_size), strict=True))
        if any(side % patch for side, patch in sides):
            raise ConfigError(
                f'model.backbone: img_size={img_size} is not a multiple of patch_size={patch_size}.'
            )
        grid = tuple(side // patch for side, patch in sides)
        num_patches = math.prod(grid)
        mask_ratio = options.get('mask_ratio')
        if mask_ratio is not None and count_visible(num_patches, mask_ratio) < 1:
            raise ConfigError(
                f'model.backbone.mask_ratio={mask_ratio} leaves none of {num_patches} patches.'
            )
        outputs = options.get('out_indices', -1)
        return dict(
            width=arch['embed_dims'],
            depth=arch['num_layers'],
            num_patches=num_patches,
            grid=grid,
            patch_size=patch_size,
            img_size=sides[0][0] if sides[0][0] == sides[1][0] else tuple(s[0] for s in sides),
            in_chans=options.get('in_chans', 3),
            out_channels=[arch['embed_dims']] * (1 if isinstance(outputs, int) else len(outputs)),
        )

    @classmethod
    def derive(cls, options: dict, facts) -> None:
        """The layers that are returned, and those of global attention, follow from the depth."""
        depth = cls.dimensions({**options, 'out_indices': -1})['depth']
        facts.fill(
            options,
            # After thirds, half and all: layers 3, 5, 7, 11 of 12 and 7, 11, 15, 23 of 24, as iBOT.
            out_indices=[round(depth * share) - 1 for share in (1 / 3, 1 / 2, 2 / 3, 1)],
            # The last of each quarter, as ViTDet.
            global_layers=[round(depth * share) - 1 for share in (1 / 4, 1 / 2, 3 / 4, 1)],
        )
        indices = options.get('out_indices', -1)
        indices = [indices] if isinstance(indices, int) else list(indices)
        if not all(-depth <= i < depth for i in indices):
            raise ConfigError(
                f'model.backbone.out_indices={indices}: there are layers 0..{depth - 1}.'
            )
        layers = [i % depth for i in indices]
        if len(set(layers)) < len(layers):
            raise ConfigError(
                f'model.backbone.out_indices={layers} names a layer twice; an encoder of {depth} '
                'layers needs them given.'
            )
        if max(layers) < depth - 1:
            facts.note(
                f'model.backbone.out_indices ends at layer {max(layers)} of 0..{depth - 1}: the '
                'layers after it take no part.'
            )

    def _set_windows(
        self, size: int | None, global_layers: tuple[int, ...], mask_ratio: float | None
    ) -> None:
        if (size is None and global_layers) or (size is not None and size < 1):
            raise ValueError(
                f'window_size={size} with global_layers={global_layers}: give a window of 1 patch '
                'or more, or None for both, which is global attention throughout.'
            )
        outside = [i for i in global_layers if not 0 <= i < self.num_layers]
        if outside:
            raise ValueError(f'global_layers={outside}: there are layers 0..{self.num_layers - 1}.')
        if size is not None and (self.out_type != 'featmap' or mask_ratio is not None):
            raise ValueError(
                "window_size goes with out_type='featmap' and mask_ratio=None: windows tile the "
                f'whole image; got {self.out_type!r} and {mask_ratio}.'
            )
        self.window_size = size
        self.global_layers = global_layers
        if size is not None:
            # It is loaded and saved under its name, but distributed training must not wait for it.
            self.cls_token.requires_grad = False

    def init_weights(self) -> None:
        super(MAEViT, self).init_weights()
        # MAEViT's own part, whose position embedding is of a square.
        self.pos_embed.data.copy_(sincos(self.patch_resolution, self.embed_dims))
        nn.init.xavier_uniform_(self.patch_embed.projection.weight.data.flatten(1))
        nn.init.normal_(self.cls_token, std=0.02)
        if self.pretrained is not None:
            load_encoder(self, self.pretrained, part=self.pretrained_part)

    def _prepare_pos_embed(self, state_dict: dict, prefix: str, *args, **kwargs) -> None:
        # mmpretrain calls it before any state is loaded, and would resample otherwise than timm.
        name = prefix + 'pos_embed'
        if name in state_dict:
            state_dict[name] = fit_pos_embed(state_dict[name], self)

    def train(self, mode: bool = True) -> 'MaskedViT':
        super().train(mode and not self.frozen)
        return self  # mmpretrain's returns None

    def forward(self, x: Tensor, mask: bool | None = True, ids_visible: Tensor | None = None):
        """Encode images.

        Args:
            x (Tensor): Images, (B, in_chans, H, W).
            mask (bool, optional): True draws a mask of ``mask_ratio`` (none if that is None),
                False or None encode all patches. Not read where ``ids_visible`` is given.
            ids_visible (Tensor, optional): The patches to keep of every image, (B, V) int64.

        Returns:
            tuple: Masked: (tokens (B, 1 + V, D), mask_BL with 1 = masked, ids_restore_BL), as
            ``MAEViT``. Unmasked: one feature for each of ``out_indices``, as ``out_type`` says.
        """
        if ids_visible is not None:
            mask_BL, ids_restore_BL = masks_from_visible(ids_visible, self.num_patches)
        elif mask and self.mask_ratio is not None:
            order_BL = draw_order(len(x), self.num_patches, x.device)
            ids_visible = order_BL[:, : count_visible(self.num_patches, self.mask_ratio)]
            mask_BL, _ = masks_from_visible(ids_visible, self.num_patches)
            ids_restore_BL = order_BL.argsort(dim=1)  # MAEViT's, of the mask tokens too
        else:
            return self.features(x)
        return self.encode(self.embed_visible(x, ids_visible)), mask_BL, ids_restore_BL

    def embed_visible(self, x: Tensor, ids_visible_BV: Tensor) -> Tensor:
        """Class token and visible patch tokens with their position embedding, (B, 1 + V, D)."""
        x_BLD = self.patch_embed(x)[0] + self.pos_embed[:, 1:]
        visible_BVD = x_BLD.gather(1, ids_visible_BV[:, :, None].expand(-1, -1, x_BLD.shape[-1]))
        cls_11D = self.cls_token + self.pos_embed[:, :1]
        cls_B1D = cls_11D.expand(len(visible_BVD), -1, -1).to(visible_BVD.dtype)
        return torch.cat([cls_B1D, visible_BVD], dim=1)

    def encode(self, x_BND: Tensor, attention: Callable | None = None) -> Tensor:
        """Transformer layers and the final norm on embedded tokens; see :meth:`run_layers`."""
        return self.norm(self.run_layers(x_BND, attention))

    def run_layers(
        self,
        x_BND: Tensor,
        attention: Callable | None = None,
        start: int = 0,
        stop: int | None = None,
        offset: Tensor | None = None,
    ) -> Tensor:
        """The residual stream after layers ``start`` to ``stop - 1``, before any final norm.

        Args:
            x_BND (Tensor): Embedded tokens, or the residual stream before layer ``start``.
            attention (Callable, optional): Called as ``attention(layer.attn, x, layer_index)`` in
                place of each layer's attention (:class:`HomologousAttention`).
            start (int): The first layer. Defaults to 0.
            stop (int, optional): The layer before which it ends. Defaults to None: the last is run.
            offset (Tensor, optional): Hands ``attention`` a fourth argument, the tokens of the
                layer without this part of the residual stream, for decisions only: they have no
                gradient. Defaults to None.
        """
        for i in range(self.num_layers)[start:stop]:
            x_BND = self._run_layer(self.layers[i], x_BND, attention, i, offset)
        return x_BND

    def norm(self, x_BND: Tensor) -> Tensor:
        """The final norm, where the encoder has one."""
        return self.ln1(x_BND) if self.final_norm else x_BND

    def features(self, x: Tensor) -> tuple:
        """A plain ViT's features of whole images, one for each of ``out_indices``.

        Images of any size: those that are no multiple of the patch are padded with zeros (the mean
        colour) at the bottom and right.
        """
        x_BLD, grid = self.patch_embed(x)
        pos_embed_1ND = self.pos_embed_at(grid)
        if self.window_size is not None:
            x_BND = x_BLD + pos_embed_1ND[:, self.num_extra_tokens :]

            def attention(attn, x_BLD, index):
                return window_attention(
                    attn, x_BLD, grid, self.window_size, recompute=not self.with_cp
                )
        else:
            cls_B1D = self.cls_token.expand(len(x), -1, -1).to(x_BLD.dtype)
            x_BND = torch.cat([cls_B1D, x_BLD], dim=1) + pos_embed_1ND
            attention = None
        x_BND = self.pre_norm(self.drop_after_pos(x_BND))
        outs = []
        for i, layer in enumerate(self.layers):
            x_BND = self._run_layer(layer, x_BND, None if i in self.global_layers else attention)
            if i not in self.out_indices:
                continue
            last = i == self.num_layers - 1
            out_BND = self.norm(x_BND) if self.norm_outputs or last else x_BND
            outs.append(self._format_output(out_BND, grid))
        return tuple(outs)

    def pos_embed_at(self, grid: tuple[int, int]) -> Tensor:
        """The position embedding for a grid of (rows, columns), resampled as timm does it."""
        return resample_abs_pos_embed(
            self.pos_embed,
            new_size=list(grid),
            old_size=list(self.patch_resolution),
            num_prefix_tokens=self.num_extra_tokens,
        )

    def _format_output(self, x_BND: Tensor, grid: tuple[int, int]) -> Tensor:
        if self.window_size is not None:  # no class token to take off
            return x_BND.transpose(1, 2).unflatten(2, grid)
        return super()._format_output(x_BND, grid)

    def _run_layer(
        self,
        layer: nn.Module,
        x_BND: Tensor,
        attention: Callable | None = None,
        index: int = 0,
        offset: Tensor | None = None,
    ) -> Tensor:
        def run(x):
            if attention is None:
                return layer(x)
            more = ()
            if offset is not None:
                with torch.no_grad():
                    more = (layer.ln1(x - offset),)
            x = x + attention(layer.attn, layer.ln1(x), index, *more)
            return layer.ffn(layer.ln2(x), identity=x)

        if self.with_cp and x_BND.requires_grad:
            return checkpoint(run, x_BND, use_reentrant=False)
        return run(x_BND)
