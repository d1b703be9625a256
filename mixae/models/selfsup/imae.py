"""i-MAE: Are Latent Representations in Masked Autoencoders Linearly Separable?

https://arxiv.org/abs/2210.11470

Shape legend: a batch of 2B images is B mixtures of an anchor I_1 and its partner I_2; L patches an
image, V visible ones, n = V + 1 tokens (class token first), D encoder width, P values a patch.
"""

from collections.abc import Callable
from numbers import Real
from typing import NamedTuple

import torch
from mmpretrain.models import MAE
from torch import Tensor, nn

from mixae.checkpoints.teacher import build_teacher
from mixae.errors import CheckpointError
from mixae.models.layers.masking import draw_visible, masks_from_visible
from mixae.models.necks.disentanglement import BRANCHES
from mixae.registry import MODELS


class Mixture(NamedTuple):
    """B mixtures and the images they are made of.

    Attributes:
        images: I_m, (B, 3, H, W).
        sources: The image that each branch owns: 'dominant' and 'subordinate', each (B, 3, H, W).
        share_B: The subordinate image's weight, min(a, 1 - a).
    """

    images: Tensor
    sources: dict[str, Tensor]
    share_B: Tensor


@MODELS.register_module()
class IMAE(MAE):
    """MAE on mixtures of two images, both reconstructed, with a frozen MAE as the guide.

    The encoder sees the visible patches of I_m = a I_1 + (1 - a) I_2. Two linear layers take its
    encoding apart; the one shared decoder reconstructs each image from its part; and each part is
    pulled to what a frozen, pre-trained MAE makes of the unmixed image under the same mask.
    Branch 1 always owns the *dominant* image, the one of the larger weight (a tie goes to I_1),
    branch 2 the *subordinate* one: that is how the branches know which image is theirs.

    A batch holds B adjacent pairs: anchor, partner, anchor, partner, ... as
    :class:`mixae.datasets.PairSampler` yields them, so ``batch_size`` is 2B images.

    The teacher is no part of the student: none of its weights is in ``parameters()``, in the
    optimizer, in ``state_dict()`` or touched by ``train()``; it only follows the student to its
    device. It is read from its own checkpoint whenever the model is built, a resumed run
    included; the checkpoint of the student keeps its SHA-256, and loading weights that were
    distilled from another teacher stops with an error.

    Args:
        backbone (dict): A :class:`MaskedViT` with a ``mask_ratio``.
        neck (dict): ``MAEPretrainDecoder`` of mmpretrain, shared by the branches.
        head (dict): ``MAEPretrainHead`` of mmpretrain.
        mix (dict, optional): Where the weight a of I_1 comes from. ``dict(beta=b)`` draws it for
            each mixture from Beta(b, b) **(per mixture: ours)**, ``dict(weight=a)`` is constant,
            ``dict(subordinate=s)`` as well, given as the subordinate's share s = 1 - a in
            [0, 0.5]. Defaults to ``dict(beta=1.0)``.
        disentangle (dict | bool, optional): Options of the two linear layers,
            :class:`Disentanglement`, or True; None (or False) leaves them out, both branches then
            take the mixed encoding (the baseline of Table 4). Defaults to True.
        distill (dict | bool, optional): Options of :class:`PatchDistillationLoss`, or True; None
            (or False) turns it off, and the teacher is not even loaded. Defaults to True.
        teacher (dict, optional): ``dict(checkpoint=..., backbone=...)``, the checkpoint of an MAE
            pre-training and its encoder's config; ``backbone`` defaults to the student's. Must
            be given with ``distill``.
        loss_on (str): 'masked', the patches that MAE's loss takes **(ours)**, or 'all': Eq. 4
            takes the whole image, and visible patches are mixtures, so unmixing them is a target
            too. Defaults to 'masked'.
        branches (str): 'both', or 'subordinate', which reconstructs and distils the subordinate
            image alone (Table 5's i-MAE-Sub). Defaults to 'both'.
        **kwargs: Of mmpretrain's ``MAE``: data_preprocessor, init_cfg.

    Raises:
        ValueError: A weight outside its range, an unknown option (here); an odd batch (at the
            first step).
        CheckpointError: No teacher while ``distill`` is on; a teacher that cannot be read, does
            not fit its config or has another width, patch size or number of patches (all here);
            weights distilled from another teacher (at load).
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        mix: dict | None = None,
        disentangle: bool | dict | None = True,
        distill: bool | dict | None = True,
        teacher: dict | None = None,
        loss_on: str = 'masked',
        branches: str = 'both',
        **kwargs,
    ) -> None:
        if loss_on not in ('masked', 'all'):
            raise ValueError(f"loss_on={loss_on!r}: choose 'masked' or 'all'.")
        if branches not in ('both', 'subordinate'):
            raise ValueError(f"branches={branches!r}: choose 'both' or 'subordinate'.")
        super().__init__(backbone=backbone, neck=neck, head=head, **kwargs)
        if self.backbone.mask_ratio is None:
            raise ValueError('mask_ratio=None in the backbone: i-MAE needs one in (0, 1), as MAE.')
        self.beta, self.weight = check_mix({'beta': 1.0} if mix is None else mix)
        self.loss_on = loss_on
        self.branches = BRANCHES if branches == 'both' else BRANCHES[1:]
        self.disentangle = _build(
            disentangle,
            type='mixae.Disentanglement',
            embed_dim=self.backbone.embed_dims,
            branches=self.branches,
        )
        self.distill = _build(distill, type='mixae.PatchDistillationLoss')
        # Past nn.Module's registration: see the class docstring.
        object.__setattr__(self, 'teacher', None)
        self.teacher_provenance = None
        if self.distill is not None:
            encoder, self.teacher_provenance = build_teacher(teacher, self.backbone, backbone)
            object.__setattr__(self, 'teacher', encoder)
            digest = bytes.fromhex(self.teacher_provenance['sha256'])
            self.register_buffer('teacher_sha256', torch.tensor(list(digest), dtype=torch.uint8))
            self.register_load_state_dict_pre_hook(_check_teacher)

    def _apply(self, fn: Callable, recurse: bool = True) -> 'IMAE':
        if self.teacher is not None:
            self.teacher._apply(fn, recurse)  # .to(), .cuda(): the teacher goes along
        return super()._apply(fn, recurse)

    def draw_weights(self, inputs: Tensor) -> Tensor:
        """The weight a_B of each anchor I_1, in [0, 1]; tests set it by overriding this."""
        size = (len(inputs) // 2,)
        if self.beta is None:
            return torch.full(size, self.weight, device=inputs.device)
        concentration_B = torch.full(size, self.beta, device=inputs.device)
        # Checked when the model was built; checking again would wait for the GPU at each step.
        draw = torch.distributions.Beta(concentration_B, concentration_B, validate_args=False)
        return draw.sample()

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

    @torch.no_grad()
    def teach(self, sources: dict[str, Tensor], ids_visible_BV: Tensor) -> dict[str, Tensor]:
        """The frozen MAE's encoding of each branch's clean image under the student's mask."""
        images = torch.cat([sources[branch] for branch in self.branches])
        ids_visible_BV = ids_visible_BV.repeat(len(self.branches), 1)
        taught_BnD = self.teacher(images, ids_visible=ids_visible_BV)[0]  # one call for both images
        chunks = taught_BnD.chunk(len(self.branches))
        return dict(zip(self.branches, chunks, strict=True))

    def decode(self, parts: dict[str, Tensor], ids_restore_BL: Tensor) -> dict[str, Tensor]:
        """The shared decoder's prediction of every patch, (B, L, P) for each branch."""
        stacked_BnD = torch.cat(list(parts.values()))  # one call for both branches
        pred_BLP = self.neck(stacked_BnD, ids_restore_BL.repeat(len(parts), 1))
        return dict(zip(parts, pred_BLP.chunk(len(parts)), strict=True))

    def loss(self, inputs: Tensor, data_samples: list | None = None, **kwargs) -> dict[str, Tensor]:
        """Two-way reconstruction loss (Eq. 4) and patch-wise distillation (Eq. 5).

        Args:
            inputs (Tensor): 2B images, (2B, 3, H, W): anchor, partner, anchor, partner, ...

        Returns:
            dict: ``loss_recon_dominant``, ``loss_recon_subordinate`` and, with ``distill``, the
            weighted ``loss_distill_dominant``, ``loss_distill_subordinate``;
            ``subordinate_share``, the mean of min(a, 1 - a). With ``branches='subordinate'``
            nothing ends in ``_dominant``.
        """
        mixture = mix_pairs(inputs, self.draw_weights(inputs))  # Eq. 1
        ids_visible_BV = self.draw_visible(inputs)
        mask_BL, ids_restore_BL = masks_from_visible(ids_visible_BV, self.backbone.num_patches)
        scored_BL = torch.ones_like(mask_BL) if self.loss_on == 'all' else mask_BL

        parts = self.encode(mixture.images, ids_visible_BV)
        preds = self.decode(parts, ids_restore_BL)
        losses = {
            f'loss_recon_{branch}': self.head.loss(pred, mixture.sources[branch], scored_BL)
            for branch, pred in preds.items()
        }
        if self.distill is not None:
            for branch, target_BnD in self.teach(mixture.sources, ids_visible_BV).items():
                distill = self.distill(parts[branch], target_BnD)
                losses[f'loss_distill_{branch}'] = self.distill.weight * distill
        losses['subordinate_share'] = mixture.share_B.mean()
        return losses


def check_mix(mix: dict) -> tuple[float | None, float | None]:
    """The option ``mix`` as (b of Beta(b, b), None) or (None, constant weight a of I_1).

    Raises:
        ValueError: Not exactly one entry, an unknown one, or one outside its range.
    """
    given = mix
    if isinstance(mix, dict):
        given = {name: value for name, value in mix.items() if value is not None}
    known = isinstance(given, dict) and set(given) <= {'beta', 'weight', 'subordinate'}
    if not known or len(given) != 1 or not all(isinstance(v, Real) for v in given.values()):
        raise ValueError(
            f'mix={given!r}: give one number, exactly one of beta (a is drawn from Beta(beta, '
            "beta)), weight (a, I_1's weight, constant) and subordinate (1 - a, the subordinate's "
            'share, constant).'
        )
    beta, weight, subordinate = map(given.get, ('beta', 'weight', 'subordinate'))
    if beta is not None:
        if not beta > 0:
            raise ValueError(f'mix=dict(beta={beta}): Beta(beta, beta) needs beta > 0.')
        return float(beta), None
    if weight is not None:
        if not 0 <= weight <= 1:
            raise ValueError(f'mix=dict(weight={weight}): the weight of I_1 is outside [0, 1].')
        return None, float(weight)
    if not 0 <= subordinate <= 0.5:
        raise ValueError(
            f"mix=dict(subordinate={subordinate}): the subordinate image's share is outside "
            '[0, 0.5].'
        )
    return None, 1 - float(subordinate)


def mix_pairs(inputs: Tensor, weights_B: Tensor) -> Mixture:
    """Mix adjacent pairs of images, I_m = a I_1 + (1 - a) I_2 (Eq. 1), and order each pair.

    Args:
        inputs (Tensor): 2B images, (2B, 3, H, W): anchor, partner, anchor, partner, ...
        weights_B (Tensor): a, the weight of each anchor, in [0, 1].

    Raises:
        ValueError: An odd number of images.
    """
    if len(inputs) % 2:
        raise ValueError(
            f'A batch of {len(inputs)} images is not made of pairs: i-MAE mixes an anchor with its '
            'partner, so batch_size must be even (2 images a mixture) and the sampler '
            'mixae.PairSampler.'
        )
    first, second = inputs[0::2], inputs[1::2]
    a_B111 = weights_B.to(inputs.dtype)[:, None, None, None]
    first_dominates_B111 = (weights_B >= 0.5)[:, None, None, None]  # a tie goes to I_1
    sources = dict(
        dominant=torch.where(first_dominates_B111, first, second),
        subordinate=torch.where(first_dominates_B111, second, first),
    )
    share_B = torch.minimum(weights_B, 1 - weights_B)
    return Mixture(a_B111 * first + (1 - a_B111) * second, sources, share_B)


def _check_teacher(module: IMAE, state_dict: dict, prefix: str, *args) -> None:
    """Refuse to go on from weights that were distilled from another teacher."""

    saved = state_dict.get(f'{prefix}teacher_sha256')
    if saved is not None and not torch.equal(saved.cpu(), module.teacher_sha256.cpu()):
        saved_hex, own_hex = (bytes(x.cpu().tolist()).hex() for x in (saved, module.teacher_sha256))
        raise CheckpointError(
            f'These weights were distilled from the teacher with SHA-256 {saved_hex[:12]}..., but '
            f'model.teacher.checkpoint is {own_hex[:12]}...: resume with the same teacher.'
        )


def _build(option: bool | dict | None, **defaults) -> nn.Module | None:
    if option is None or option is False:
        return None
    return MODELS.build({**defaults, **(option if isinstance(option, dict) else {})})
