"""Two lower bounds on the mutual information of encoded tokens and masked patches.

Both are of one masked patch, at a position that is known, in nats, and are measured on images that
the probe was not fitted on.

Shape legend: B images, G images a group, L patches an image, V visible patches an image, n = V + 1
tokens, D width, P values a patch, k coordinates of a patch, d width of the critic.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.optim import CosineAnnealingLR, LinearLR
from torch import Tensor, nn

from mixae.errors import DataError, NotFiniteError
from mixae.evaluation.analysis import initialise
from mixae.evaluation.separability.lasso import Moments
from mixae.models.layers.masking import masks_from_visible
from mixae.registry import MODELS

CRITIC = 64
# Of the decoder: as large as what pre-trains digit scenes, whatever the encoder (ours).
DECODER = dict(decoder_embed_dim=64, decoder_depth=1, decoder_num_heads=2, mlp_ratio=4.0)
SCALES = (-8.0, 4.0)  # of the logarithm of a variance


class Batch(NamedTuple):
    """Tokens of B images (B, n, D), their visible patches (B, V), all patches (B, L, k)."""

    tokens_BnD: Tensor
    ids_visible_BV: Tensor
    patches_BLk: Tensor


class PatchCoordinates:
    """Patches by their k largest principal components, standardised at each position.

    That is a linear map, invertible where k = P: information is then the same, and otherwise no
    more. A standard normal is the Gaussian marginal of these coordinates.

    Args:
        patchify (Callable): (B, 3, H, W) -> (B, L, P), ``MAEPretrainHead.patchify``.
        components (int): k, at most P.

    Attributes:
        share (float): Of the patches' variance that is kept, once fitted.
    """

    def __init__(self, patchify: Callable[[Tensor], Tensor], components: int) -> None:
        self.patchify, self.components = patchify, components

    def fit(self, images: Callable[[], Iterable[Tensor]]) -> 'PatchCoordinates':
        """From batches of images, which are read twice, in constant memory."""
        moments = Moments()
        for batch in images():
            patches_NP = self.patchify(batch).flatten(0, 1)
            moments.update(patches_NP, patches_NP[:, :0])
        values_P, vectors_PP = torch.linalg.eigh(moments.xx_DD)
        if not 1 <= self.components <= len(values_P):
            raise DataError(
                f'components={self.components}: a patch has {len(values_P)} values; choose 1 to '
                'that many.'
            )
        self.share = float(values_P[-self.components :].sum() / values_P.sum())
        self.basis_Pk = vectors_PP[:, -self.components :].float()
        count, sum_Lk, squares_Lk = 0, 0.0, 0.0
        for batch in images():
            rotated_BLk = (self.patchify(batch) @ self.basis_Pk).double()
            count += len(batch)
            sum_Lk = sum_Lk + rotated_BLk.sum(dim=0)
            squares_Lk = squares_Lk + rotated_BLk.square().sum(dim=0)
        mean_Lk = sum_Lk / count
        self.mean_Lk = mean_Lk.float()
        variance_Lk = (squares_Lk / count - mean_Lk.square()).clamp(min=1e-6)
        self.std_Lk = variance_Lk.sqrt().float()
        return self

    def __call__(self, images: Tensor) -> Tensor:
        """Coordinates of all patches, (B, L, k)."""
        return (self.patchify(images) @ self.basis_Pk - self.mean_Lk) / self.std_Lk


class InformationProbe(nn.Module):
    """A decoder of fixed size on frozen tokens, with a density and a critic of masked patches.

    **Barber and Agakov (2003).** I(Z; X) >= H(X) + E log q(x|z). H(X) is not known, so what is
    reported is the gain of log q(x|z), a Gaussian whose mean and variances the decoder predicts,
    over the log density of the Gaussian marginal. For Gaussian patches it is the bound itself;
    otherwise it is the bound and a constant of the data, which is the same for every encoder:
    differences between encoders are differences of bounds.

    **InfoNCE (van den Oord et al. 2018).** Which of N patches at this position belongs to the
    tokens? E log N p(own) <= I(Z; X), and <= log N, its ceiling. The patches of group mates are
    no candidates: naive mixing may carry them in the tokens, and negatives must be independent.

    Args:
        width (int): D.
        num_patches (int): L.
        components (int): k.
        groups (int): G; the batches are made of groups of consecutive images.
    """

    def __init__(self, width: int, num_patches: int, components: int, groups: int) -> None:
        super().__init__()
        self.components, self.groups, self.num_patches = components, groups, num_patches
        self.decoder = MODELS.build(
            dict(
                type='mmpretrain.MAEPretrainDecoder',
                num_patches=num_patches,
                patch_size=1,
                in_chans=2 * components + CRITIC,  # what it predicts of each patch
                embed_dim=width,
                **DECODER,
            )
        )
        initialise(self.decoder)
        self.critic = nn.Sequential(
            nn.Linear(components, 4 * CRITIC), nn.GELU(), nn.Linear(4 * CRITIC, CRITIC)
        )

    def candidates(self, batch_size: int) -> int:
        """N: the own patch and those of other groups."""
        return batch_size - self.groups + 1

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Both bounds, each the mean over an image's masked patches, (B,)."""
        mask_BL, ids_restore_BL = masks_from_visible(batch.ids_visible_BV, self.num_patches)
        predicted = self.decoder(batch.tokens_BnD, ids_restore_BL)
        k = self.components
        mean_BLk, scale_BLk, query_BLd = predicted.split([k, k, CRITIC], dim=-1)
        x_BLk = batch.patches_BLk
        scale_BLk = scale_BLk.clamp(*SCALES)
        error_BLk = (x_BLk - mean_BLk).square() * (-scale_BLk).exp()
        gain_BL = 0.5 * (x_BLk.square() - error_BLk - scale_BLk).sum(dim=-1)
        key_BLd = self.critic(x_BLk)
        scores_LBB = torch.einsum('bld,cld->lbc', query_BLd, key_BLd) / CRITIC**0.5
        B = len(x_BLk)
        group_B = torch.arange(B, device=x_BLk.device) // self.groups
        mates_BB = (group_B[:, None] == group_B) & ~torch.eye(B, dtype=bool, device=x_BLk.device)
        scores_LBB = scores_LBB.masked_fill(mates_BB, -math.inf)
        own_BL = F.log_softmax(scores_LBB, dim=-1).diagonal(dim1=1, dim2=2).T
        nce_BL = own_BL + math.log(self.candidates(B))
        masked_B = mask_BL.sum(dim=1)
        return tuple((value * mask_BL).sum(dim=1) / masked_B for value in (gain_BL, nce_BL))


def fit_probe(probe: InformationProbe, batches: Iterator[Batch], steps: int) -> None:
    """Fit both bounds for a number of steps: AdamW, a tenth of it warm-up, cosine decay.

    Raises:
        NotFiniteError: A loss that is not finite.
    """
    probe.train()
    optimizer = torch.optim.AdamW(probe.parameters(), lr=2e-3, weight_decay=1e-4)
    warmup = max(1, steps // 10)
    schedulers = (
        LinearLR(optimizer, start_factor=1e-2, begin=0, end=warmup),
        CosineAnnealingLR(optimizer, T_max=max(1, steps - warmup), begin=warmup, end=steps),
    )
    for _ in range(steps):
        gain_B, nce_B = probe(next(batches))
        # A decoder of many coordinates would outweigh the critic: nats a coordinate.
        loss = -gain_B.mean() / probe.components - nce_B.mean()
        if not loss.isfinite():
            raise NotFiniteError('The bounds are not finite: the features of the checkpoint are.')
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(probe.parameters(), 1.0)
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


@torch.no_grad()
def measure(probe: InformationProbe, batches: Iterable[Batch]) -> dict[str, float]:
    """The bounds on batches of held-out images, all of one size.

    Returns:
        dict: ``barber_agakov`` and ``infonce`` in nats a patch, each with ``_error``, the standard
        error over groups of images; ``ceiling``, log N; ``images``.

    Raises:
        DataError: No batch.
    """
    probe.eval()
    found = {'barber_agakov': [], 'infonce': []}
    size = 0
    for batch in batches:
        size = len(batch.patches_BLk)
        for values, value_B in zip(found.values(), probe(batch), strict=True):
            values.append(value_B.unflatten(0, (-1, probe.groups)).mean(dim=1).double().cpu())
    if not size:
        raise DataError('Too few held-out images for one batch of the estimators.')
    bounds = {}
    for name, values in found.items():
        groups = torch.cat(values)
        bounds[name] = float(groups.mean())
        bounds[f'{name}_error'] = float(groups.std() / len(groups) ** 0.5)
    bounds['ceiling'] = math.log(probe.candidates(size))
    bounds['images'] = len(groups) * probe.groups
    return bounds
