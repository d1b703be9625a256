"""MixedAE: Mixed Autoencoder for Self-supervised Visual Representation Learning (CVPR 2023).

https://arxiv.org/abs/2303.17152

Shape legend: B clean images, G = 1/r images a group, M = B/G mixed samples, L patches an image,
V = L/G visible patches an image, n = V + 1 tokens an image (class token first), N = G*n tokens a
mixed sample, D encoder width, P values a patch.
"""

import torch
from mmengine.model.weight_init import trunc_normal_
from mmpretrain.models import MAE
from torch import Tensor, nn

from mixae.errors import ConfigError
from mixae.models.layers.homologous_attention import HomologousAttention
from mixae.models.layers.masking import masks_from_visible
from mixae.models.layers.mixing import check_group, complementary_masks, group_size, mix, unmix
from mixae.registry import MODELS


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
            'masked'), ``topk``, ``fused``. Defaults to ``dict(mode='topk')``.
        segment_embed (bool): One learnable vector for each image index of a group, added to that
            image's tokens. Without it the G class tokens of a group stay identical to each other
            in 'global' and 'topk'. Pre-training only. Defaults to True.
        contrast (dict, optional): The homologous contrastive loss; None turns it off.
        **kwargs: Of mmpretrain's ``MAE``: data_preprocessor, init_cfg.

    Raises:
        ValueError: mix_ratio outside (0, 0.5], G that does not divide L (here) or the batch (at
            the first step; the Runner checks it at start), an unknown attention mode.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        mix_ratio: float = 0.25,
        attention: dict | None = None,
        segment_embed: bool = True,
        contrast: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, head=head, **kwargs)
        self.groups = group_size(mix_ratio)
        check_group(self.groups, self.backbone.num_patches, self.groups)
        self.attention = HomologousAttention(self.groups, **(attention or {}))
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
        HomologousAttention(groups, **attention)  # has no weights, and checks its options
        if (topk := attention.get('topk', 1)) > num_patches + groups:
            raise ConfigError(
                f'model.attention.topk={topk}: a mixed sample has {num_patches + groups} tokens.'
            )
        if not facts.trains:
            return
        check_group(facts.batch_size, num_patches, groups)
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
            inputs (Tensor): Images, (B, 3, H, W); consecutive G form a group.
            ids_visible_BV (Tensor): What each image gives to its mixed sample.
        """
        x_BnD = self.backbone.embed_visible(inputs, ids_visible_BV)
        if self.segment_embed is not None:
            segments_B1D = self.segment_embed.repeat(len(inputs) // self.groups, 1)[:, None]
            x_BnD = x_BnD + segments_B1D.to(x_BnD.dtype)
        mixed_MND = mix(x_BnD, self.groups)  # Sec. 3.1
        encoded_MND = self.backbone.encode(mixed_MND, self.attention)  # Sec. 3.2
        return unmix(encoded_MND, self.groups)

    def loss(self, inputs: Tensor, data_samples: list, **kwargs) -> dict[str, Tensor]:
        """Reconstruction loss of every image plus lambda times the homologous contrastive loss.

        Returns:
            dict: ``loss_recon``, and with ``contrast`` also ``loss_contrast`` (weighted), beside
            it ``contrast`` (unweighted) and ``contrast_floor``, the least it can be.
        """
        ids_visible_BV = self.draw_visible(inputs)
        latent_BnD = self.encode(inputs, ids_visible_BV)
        mask_BL, ids_restore_BL = masks_from_visible(ids_visible_BV, self.backbone.num_patches)
        pred_BLP = self.neck(latent_BnD, ids_restore_BL)
        losses = dict(loss_recon=self.head.loss(pred_BLP, inputs, mask_BL))
        if self.contrast is not None:
            L = self.backbone.num_patches
            patches_MLD = latent_BnD[:, 1:].reshape(len(inputs) // self.groups, L, -1)
            contrast = self.contrast(patches_MLD, self.groups)
            losses['loss_contrast'] = self.contrast.weight * contrast
            losses['contrast'] = contrast.detach()
            losses['contrast_floor'] = contrast.new_tensor(self.contrast.floor(L, self.groups))
        return losses
