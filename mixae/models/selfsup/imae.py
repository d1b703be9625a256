"""i-MAE: Are Latent Representations in Masked Autoencoders Linearly Separable?

https://arxiv.org/abs/2210.11470

Shape legend: a batch of 2B images is B mixtures of an anchor I_1 and its partner I_2; L patches an
image, V visible ones, n = V + 1 tokens (class token first), D encoder width, P values a patch.
"""

import torch
from mmpretrain.models import MAE
from torch import Tensor

from mixae.checkpoints.teacher import WithTeacher
from mixae.errors import ConfigError
from mixae.models.layers.masking import draw_visible, masks_from_visible
from mixae.models.layers.mixture import MixingWeight, mix_pairs
from mixae.models.necks.disentanglement import BRANCHES
from mixae.registry import MODELS


@MODELS.register_module()
class IMAE(WithTeacher, MAE):
    """MAE on mixtures of two images, both reconstructed, with a frozen MAE as the guide.

    The encoder sees the visible patches of I_m = a I_1 + (1 - a) I_2. Two linear layers take its
    encoding apart; the one shared decoder reconstructs each image from its part; and each part is
    pulled to what a frozen, pre-trained MAE makes of the unmixed image under the same mask.
    Branch 1 always owns the *dominant* image, the one of the larger weight (a tie goes to I_1),
    branch 2 the *subordinate* one: that is how the branches know which image is theirs.

    A batch holds B adjacent pairs: anchor, partner, anchor, partner, ... as
    :class:`mixae.datasets.PairSampler` yields them, so ``batch_size`` is 2B images.

    Args:
        backbone (dict): A :class:`MaskedViT` with a ``mask_ratio``.
        neck (dict): ``MAEPretrainDecoder`` of mmpretrain, shared by the branches.
        head (dict): ``MAEPretrainHead`` of mmpretrain.
        mix (dict): Where the weight a of I_1 comes from. ``dict(beta=b)`` draws it for each
            mixture from Beta(b, b) **(per mixture: ours)**, ``dict(subordinate=s)`` is the
            constant a = 1 - s, with the subordinate's share s in [0, 0.5].
        disentangle (dict, optional): The two linear layers, a :class:`Disentanglement`; None
            leaves them out, both branches then take the mixed encoding (the baseline of Table 4).
        distill (dict, optional): The distillation, a :class:`PatchDistillationLoss`; None turns
            it off, and the teacher is not even loaded.
        teacher (dict, optional): ``dict(checkpoint=..., backbone=...)``, the checkpoint of an MAE
            pre-training and its encoder's config; ``backbone`` defaults to the student's. Must
            be given with ``distill``. See :class:`WithTeacher`.
        loss_on (str): 'masked', the patches that MAE's loss takes **(ours)**, or 'all': Eq. 4
            takes the whole image, and visible patches are mixtures, so unmixing them is a target
            too. Defaults to 'masked'.
        branches (str): 'both', or 'subordinate', which reconstructs and distils the subordinate
            image alone (Table 5's i-MAE-Sub). Defaults to 'both'.
        **kwargs: Of mmpretrain's ``MAE``: data_preprocessor, init_cfg.

    Raises:
        ConfigError: A weight outside its range, an unknown option (here); an odd batch (at the
            first step).
        CheckpointError: What is wrong with the teacher; see :class:`WithTeacher`.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        *,
        mix: dict,
        disentangle: dict | None,
        distill: dict | None,
        teacher: dict | None = None,
        loss_on: str = 'masked',
        branches: str = 'both',
        **kwargs,
    ) -> None:
        for name, part in (('disentangle', disentangle), ('distill', distill)):
            if isinstance(part, bool):
                raise ConfigError(f'{name}={part}: give dict(type=..., ...), or None for off.')
        if loss_on not in ('masked', 'all'):
            raise ConfigError(f"loss_on={loss_on!r}: choose 'masked' or 'all'.")
        if branches not in ('both', 'subordinate'):
            raise ConfigError(f"branches={branches!r}: choose 'both' or 'subordinate'.")
        super().__init__(backbone=backbone, neck=neck, head=head, **kwargs)
        if self.backbone.mask_ratio is None:
            raise ConfigError('mask_ratio=None in the backbone: i-MAE needs one in (0, 1), as MAE.')
        self.mix = MixingWeight(mix)
        self.loss_on = loss_on
        self.branches = BRANCHES if branches == 'both' else BRANCHES[1:]
        self.disentangle, self.distill = None, None
        if disentangle is not None:
            sizes = dict(embed_dim=self.backbone.embed_dims, branches=self.branches)
            self.disentangle = MODELS.build(disentangle, default_args=sizes)
        if distill is not None:
            self.distill = MODELS.build(distill)
            self.load_teacher(backbone, **(teacher or {}))

    @classmethod
    def derive(cls, options: dict, facts) -> None:
        """The batch holds pairs; without distillation no teacher is needed."""
        MixingWeight(options.get('mix'))  # checks its options
        if options.get('distill') is None:
            options['teacher'] = None
        if not facts.trains:
            return
        drop_last = facts.cfg.train_dataloader.get('drop_last', False)
        if facts.batch_size % 2 or not drop_last:
            raise ConfigError(
                'i-MAE mixes pairs: train_dataloader needs an even batch_size, got '
                f'{facts.batch_size}, and drop_last=True.'
            )

    def draw_weights(self, inputs: Tensor) -> Tensor:
        """The weight a_B of each anchor I_1, in [0, 1]; tests set it by overriding this."""
        return self.mix.draw(len(inputs) // 2, inputs.device)

    def draw_visible(self, inputs: Tensor) -> Tensor:
        """ids_visible_BV of each mixture, drawn as MAE draws them; tests override this."""
        L, mask_ratio = self.backbone.num_patches, self.backbone.mask_ratio
        return draw_visible(len(inputs) // 2, L, mask_ratio, inputs.device)

    def encode(self, images: Tensor, ids_visible_BV: Tensor) -> dict[str, Tensor]:
        """Encode mixtures (Eq. 2) and take them apart (Eq. 3): (B, n, D) for each branch."""
        mixed_BnD = self.backbone(images, ids_visible=ids_visible_BV)[0]
        if self.disentangle is None:
            return {branch: mixed_BnD for branch in self.branches}
        return self.disentangle(mixed_BnD)

    def decode(self, parts: dict[str, Tensor], ids_restore_BL: Tensor) -> dict[str, Tensor]:
        """The shared decoder's prediction of every patch, (B, L, P) for each branch."""
        stacked_BnD = torch.cat(list(parts.values()))  # one call for both branches
        pred_BLP = self.neck(stacked_BnD, ids_restore_BL.repeat(len(parts), 1))
        return dict(zip(parts, pred_BLP.chunk(len(parts)), strict=True))

    @torch.no_grad()
    def teach(self, sources: dict[str, Tensor], ids_visible_BV: Tensor) -> dict[str, Tensor]:
        """The frozen MAE's encoding of each branch's clean image under the student's mask."""
        images = torch.cat([sources[branch] for branch in self.branches])
        ids_visible_BV = ids_visible_BV.repeat(len(self.branches), 1)
        taught_BnD = self.teacher(images, ids_visible=ids_visible_BV)[0]  # one call for both
        return dict(zip(self.branches, taught_BnD.chunk(len(self.branches)), strict=True))

    def loss(self, inputs: Tensor, data_samples: list | None = None, **kwargs) -> dict[str, Tensor]:
        """Two-way reconstruction loss (Eq. 4) and patch-wise distillation (Eq. 5).

        Args:
            inputs (Tensor): 2B images, (2B, C, H, W): anchor, partner, anchor, partner, ...

        Returns:
            dict: ``loss_recon_dominant``, ``loss_recon_subordinate`` and, with ``distill``, the
            weighted ``loss_distill_dominant``, ``loss_distill_subordinate``;
            ``subordinate_share``, the mean of min(a, 1 - a). With ``branches='subordinate'``
            nothing ends in ``_dominant``.
        """
        mixture = mix_pairs(inputs, self.draw_weights(inputs))  # Eq. 1: I_m = a I_1 + (1 - a) I_2
        ids_visible_BV = self.draw_visible(inputs)
        mask_BL, ids_restore_BL = masks_from_visible(ids_visible_BV, self.backbone.num_patches)
        scored_BL = torch.ones_like(mask_BL) if self.loss_on == 'all' else mask_BL

        parts = self.encode(mixture.images, ids_visible_BV)  # Eq. 2 and 3
        preds = self.decode(parts, ids_restore_BL)
        losses = {
            f'loss_recon_{branch}': self.head.loss(pred, mixture.sources[branch], scored_BL)
            for branch, pred in preds.items()  # Eq. 4
        }
        if self.distill is not None:
            for branch, target_BnD in self.teach(mixture.sources, ids_visible_BV).items():  # Eq. 5
                distill = self.distill(parts[branch], target_BnD)
                losses[f'loss_distill_{branch}'] = self.distill.weight * distill
        losses['subordinate_share'] = mixture.share_B.mean()
        return losses
