"""MixedAE: Mixed Autoencoder for Self-supervised Visual Representation Learning (CVPR 2023).

https://arxiv.org/abs/2303.17152

Shape legend: B clean images, G = 1/r images a group, M = B/G mixed samples, L patches an image,
V = L/G visible patches an image, n = V + 1 tokens an image (class token first), N = G*n tokens a
mixed sample, D encoder width, P values a patch.
"""

from collections.abc import Mapping
from functools import partial

import torch
from mmengine.model.weight_init import trunc_normal_
from mmpretrain.models import MAE
from torch import Tensor, nn

from mixae.errors import ConfigError
from mixae.models.layers.homologous_attention import HomologousAttention
from mixae.models.layers.masking import masks_from_visible
from mixae.models.layers.mixing import check_group, complementary_masks, group_size, mix, unmix
from mixae.registry import MODELS

# By `segment_embed`: before what it is added to the tokens.
SEGMENT_IN = {True: 'encoder', 'decoder': 'decoder', False: None}


@MODELS.register_module()
class MixedAE(MAE):
    """MAE with two changes: masks complementary in a group, and attention that spans the group.

    B images are cut into groups of G consecutive images. The visible patches of a group tile one
    mixed sample; the encoder sees mixed samples with homologous attention; unmixing gives the
    decoder one MAE sequence for each image. Homologous recognition has two parts: TopK attention,
    and a contrastive loss that verifies what it samples.

    Args:
        backbone (dict): A :class:`MaskedViT`.
        neck (dict): ``MAEPretrainDecoder`` of mmpretrain.
        head (dict): ``MAEPretrainHead`` of mmpretrain.
        mix_ratio (float): The paper's r, at most 0.5; G = 1/r images are mixed, and 1 - r of each
            is masked. Defaults to 0.25.
        attention (dict): Options of :class:`HomologousAttention`: ``mode`` ('topk', 'global',
            'masked'), ``topk``, ``fused``, ``subtract_segment``. Defaults to ``dict(mode='topk')``.
        segment_embed (bool | str): One learnable vector for each image index of a group, added to
            that image's tokens: before the encoder (True), or before the decoder alone
            ('decoder', **ours**). Without it in the encoder the G class tokens of a group stay
            identical to each other in 'global' and 'topk'. Pre-training only. Defaults to True.
        contrast (dict, optional): The homologous contrastive loss, a
            :class:`HomologousContrastiveLoss`; None turns it off.
        **kwargs: Of mmpretrain's ``MAE``: data_preprocessor, init_cfg.

    Raises:
        ValueError: mix_ratio outside (0, 0.5], G that does not divide L (here) or the batch (at
            the first step; the Runner checks it at start), an unknown attention mode, a
            ``contrast.layer`` that the encoder has not, a ``subtract_segment`` where the encoder's
            tokens have no segment embedding.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        mix_ratio: float = 0.25,
        attention: dict | None = None,
        segment_embed: bool | str = True,
        contrast: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, head=head, **kwargs)
        self.groups = group_size(mix_ratio)
        check_group(self.groups, self.backbone.num_patches, self.groups)
        self.attention = HomologousAttention(self.groups, **(attention or {}))
        check_segment(segment_embed, self.attention, contrast)
        check_layer(contrast, self.backbone.num_layers)
        self.segment_in = SEGMENT_IN[segment_embed]
        width = self.backbone.embed_dims
        self.segment_embed = (
            nn.Parameter(torch.zeros(self.groups, width)) if segment_embed else None
        )
        self.contrast = None if contrast is None else MODELS.build(contrast)

    @classmethod
    def derive(cls, options: dict, facts) -> None:
        """K is the number of one image's tokens; the group must divide patches and batch."""
        groups = group_size(options.get('mix_ratio', 0.25))
        backbone = options.get('backbone') or {}
        if 'num_patches' not in facts.encoder:
            raise ConfigError(
                f'model.backbone.type={backbone.get("type")!r}: MixedAE needs a mixae.MaskedViT.'
            )
        if backbone.get('mask_ratio') is not None:
            raise ConfigError(
                f'model.backbone.mask_ratio={backbone["mask_ratio"]}: MixedAE masks 1 - mix_ratio '
                'of each image. Set model.mix_ratio.'
            )
        num_patches = facts.encoder['num_patches']
        attention = options.get('attention') or {}
        facts.check(attention, HomologousAttention, 'model.attention')
        facts.fill(attention, topk=num_patches // groups + 1)
        module = HomologousAttention(groups, **attention)  # has no weights, and checks its options
        dropped = (backbone.get('layer_cfgs') or {}).get('attn_drop_rate', 0)
        if module.mode == 'topk' and dropped:
            raise ConfigError(
                f'model.backbone.layer_cfgs.attn_drop_rate={dropped}: homologous attention has no '
                "dropout of its weights. Set it to 0, or model.attention.mode to 'global'."
            )
        contrast = options.get('contrast')
        # What is neither a dict nor None is refused with the types of all options.
        contrast = contrast if isinstance(contrast, dict) else None
        check_segment(options.get('segment_embed', True), module, contrast)
        check_layer(contrast, facts.encoder['depth'])
        if (topk := attention.get('topk', 1)) > num_patches + groups:
            raise ConfigError(
                f'model.attention.topk={topk}: a mixed sample has {num_patches + groups} tokens.'
            )
        if not facts.trains:
            return
        check_group(facts.batch_size, num_patches, groups)
        if contrast and num_patches // groups < 2:
            raise ConfigError(
                f'model.mix_ratio={options.get("mix_ratio")}: {num_patches // groups} of '
                f'{num_patches} patches of each image are visible, and the contrastive loss needs '
                '2. Raise mix_ratio, or set model.contrast=None.'
            )
        if not facts.cfg.train_dataloader.get('drop_last', False):
            raise ConfigError(
                f'MixedAE mixes {groups} images at a time: set train_dataloader.drop_last=True, or '
                'the last batch of an epoch may not be a multiple of it.'
            )

    def init_weights(self) -> None:
        super().init_weights()
        if self.segment_embed is not None:
            trunc_normal_(self.segment_embed, std=0.02)

    def draw_visible(self, inputs: Tensor) -> Tensor:
        """The assignment M of each group, as ids_visible_BV; tests set it by overriding this."""
        return complementary_masks(
            len(inputs), self.backbone.num_patches, self.groups, inputs.device
        )

    def encode(self, inputs: Tensor, ids_visible_BV: Tensor) -> Tensor:
        """Mix, encode with homologous attention, unmix: the latent tokens of each image (B, n, D).

        Args:
            inputs (Tensor): Images, (B, C, H, W); consecutive G form a group.
            ids_visible_BV (Tensor): What each image gives to its mixed sample.
        """
        return self._encode(inputs, ids_visible_BV)[0]

    def decode(self, latent_BnD: Tensor, ids_restore_BL: Tensor) -> Tensor:
        """The decoder's prediction of every patch of each image, (B, L, P)."""
        if self.segment_in == 'decoder':
            latent_BnD = latent_BnD + self._segments(latent_BnD)
        return self.neck(latent_BnD, ids_restore_BL)

    def _segments(self, x_BnD: Tensor) -> Tensor:
        """The segment embedding of each image, (B, 1, D)."""
        segments_B1D = self.segment_embed.repeat(len(x_BnD) // self.groups, 1)[:, None]
        return segments_B1D.to(x_BnD.dtype)

    def _encode(self, inputs: Tensor, ids_visible_BV: Tensor) -> tuple[Tensor, Tensor]:
        """The latent tokens, and those that the contrastive loss compares, each (B, n, D)."""
        backbone, contrast = self.backbone, self.contrast
        x_BnD = backbone.embed_visible(inputs, ids_visible_BV)
        if self.segment_in == 'encoder':
            x_BnD = x_BnD + self._segments(x_BnD)
        mixed_MND = mix(x_BnD, self.groups)  # Sec. 3.1
        offset_MND = None
        if self.attention.subtract_segment:
            offset_MND = mix(self._segments(x_BnD).detach().expand_as(x_BnD), self.groups)
        run = partial(backbone.run_layers, attention=self.attention, offset=offset_MND)
        layer = None if contrast is None else contrast.layer
        stop = backbone.num_layers if layer is None else layer + 1
        stream_MND = run(mixed_MND, stop=stop)  # Sec. 3.2
        latent_BnD = unmix(backbone.norm(run(stream_MND, start=stop)), self.groups)
        if contrast is None or not (contrast.subtract_segment or stop < backbone.num_layers):
            return latent_BnD, latent_BnD
        stream_BnD = unmix(stream_MND, self.groups)
        if contrast.subtract_segment:
            # The segment embedding is a term of the residual stream, to which layers only add: it
            # can be taken off there, but not after the norm, which scales every token by its own
            # deviation. What layers have computed from it stays.
            stream_BnD = stream_BnD - self._segments(stream_BnD)
        return latent_BnD, backbone.norm(stream_BnD)

    def loss(self, inputs: Tensor, data_samples: list, **kwargs) -> dict[str, Tensor]:
        """Reconstruction loss of every image plus lambda times the homologous contrastive loss.

        Returns:
            dict: ``loss_recon``, and with ``contrast`` also ``loss_contrast`` (weighted), beside
            it ``contrast`` (unweighted) and ``contrast_floor``, the least it can be.
        """
        ids_visible_BV = self.draw_visible(inputs)
        latent_BnD, compared_BnD = self._encode(inputs, ids_visible_BV)
        mask_BL, ids_restore_BL = masks_from_visible(ids_visible_BV, self.backbone.num_patches)
        pred_BLP = self.decode(latent_BnD, ids_restore_BL)
        losses = dict(loss_recon=self.head.loss(pred_BLP, inputs, mask_BL))
        if self.contrast is not None:
            L = self.backbone.num_patches
            patches_MLD = compared_BnD[:, 1:].reshape(len(inputs) // self.groups, L, -1)
            contrast = self.contrast(patches_MLD, self.groups)
            losses['loss_contrast'] = self.contrast.weight * contrast
            losses['contrast'] = contrast.detach()
            losses['contrast_floor'] = contrast.new_tensor(self.contrast.floor(L, self.groups))
        return losses


def check_segment(
    segment_embed: bool | str, attention: HomologousAttention, contrast: Mapping | None
) -> None:
    """Raise ValueError where the segment embedding is none, or is subtracted but not there."""
    if segment_embed not in list(SEGMENT_IN):
        raise ValueError(f"segment_embed={segment_embed!r} is unknown: True, 'decoder' or False.")
    parts = dict(attention=attention.subtract_segment)
    parts['contrast'] = bool(contrast and contrast.get('subtract_segment'))
    wrong = ' and '.join(f'{part}.subtract_segment=True' for part, on in parts.items() if on)
    if wrong and SEGMENT_IN[segment_embed] != 'encoder':
        raise ValueError(
            f"{wrong} with segment_embed={segment_embed!r}: the encoder's tokens have no segment "
            'embedding to subtract. Set segment_embed=True, or subtract_segment=False.'
        )


def check_layer(contrast: Mapping | None, depth: int) -> None:
    """Raise ValueError where the loss compares features of a layer that the encoder has not."""
    layer = contrast and contrast.get('layer')
    if layer is not None and not 0 <= layer < depth:
        raise ValueError(
            f'contrast.layer={layer}: there are layers 0..{depth - 1}; None is the last.'
        )
