"""Two estimates of the mutual information of encoded tokens and masked patches.

Both are of one masked patch, at a position that is known, in nats, and are measured on images that
the probe was not fitted on.

Shape legend: B images, G images per group, L patches per image, V visible patches per image,
n = V + 1 tokens, D width, P values per patch, k coordinates of a patch, J components of the
mixture, d width of the critic.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.optim import CosineAnnealingLR, LinearLR
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

from mixae.errors import DataError, NotFiniteError
from mixae.evaluation.analysis import initialise
from mixae.evaluation.separability.lasso import Moments
from mixae.models.layers.masking import masks_from_visible
from mixae.registry import MODELS

CRITIC = 64
MIXTURE = 16  # J
MIXTURE_PATCHES = 50_000  # that it is fitted on
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
    more.

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


class PatchMarginal(nn.Module):
    """The density q(x) of a patch of which nothing is known: a mixture of J Gaussians.

    Args:
        patches_Nk (Tensor): Coordinates of patches to fit it on (scikit-learn's EM).
        seed (int): Of the fit.

    Raises:
        DataError: Fewer patches than components of the mixture.
    """

    def __init__(self, patches_Nk: Tensor, seed: int = 0) -> None:
        super().__init__()
        if len(patches_Nk) < MIXTURE:
            raise DataError(
                f'{len(patches_Nk)} patches: a mixture of {MIXTURE} Gaussians needs as many at '
                'least.'
            )
        # One texture's patches may hardly vary in a coordinate: a floor of 3 % of the whole
        # spread, so that the density does not hang on it.
        mixture = GaussianMixture(
            MIXTURE, reg_covar=1e-3, tol=1e-4, max_iter=200, random_state=seed
        )
        mixture.fit(patches_Nk.double().cpu().numpy())
        whiten_Jkk = torch.from_numpy(mixture.precisions_cholesky_).float()
        log_det_J = whiten_Jkk.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        log_weight_J = torch.from_numpy(mixture.weights_).float().log()
        self.register_buffer('mean_Jk', torch.from_numpy(mixture.means_).float())
        self.register_buffer('whiten_Jkk', whiten_Jkk)
        self.register_buffer('log_det_J', log_det_J)
        self.register_buffer('log_weight_J', log_weight_J)
        self.components = patches_Nk.shape[1]

    def whiten(self, x_BLk: Tensor) -> Tensor:
        """Patches as each component sees them: standard normal if it made them, (B, L, J, k)."""
        return torch.einsum('blk,jkc->bljc', x_BLk, self.whiten_Jkk) - torch.einsum(
            'jk,jkc->jc', self.mean_Jk, self.whiten_Jkk
        )

    def log_density(
        self,
        white_BLJk: Tensor,
        logit_BLJ: Tensor | float = 0.0,
        mean_BLJk: Tensor | float = 0.0,
        scale_BLJk: Tensor | float = 0.0,
    ) -> Tensor:
        """Log density of whitened patches, in nats, (B, L).

        Args:
            white_BLJk: As :meth:`whiten` gives them.
            logit_BLJ, mean_BLJk, scale_BLJk: What is known of a patch: changes of each component's
                log weight, mean and log variance, the last two in its whitened coordinates.
                Nothing is known by default.
        """
        error_BLJk = (white_BLJk - mean_BLJk).square() * torch.exp(-torch.as_tensor(scale_BLJk))
        constant = self.components * math.log(2 * math.pi)
        own_BLJ = self.log_det_J - 0.5 * ((error_BLJk + scale_BLJk).sum(dim=-1) + constant)
        weight_BLJ = F.log_softmax(self.log_weight_J + logit_BLJ, dim=-1)
        return torch.logsumexp(own_BLJ + weight_BLJ, dim=-1)


class InformationProbe(nn.Module):
    """A decoder of fixed size on frozen tokens, with a density and a critic of masked patches.

    **Barber and Agakov (2003).** I(Z; X) >= H(X) + E log q(x|z). H(X) is not known; the
    cross-entropy -E log q(x) of :class:`PatchMarginal` stands for it, so that what is reported is
    how much likelier the tokens make a patch, E log q(x|z) - E log q(x). q(x|z) is the same mixture
    after the decoder has moved its weights, means and variances. The result is a bound where q(x)
    is the true density, and an estimate, too high by the divergence of the two, where it is not
    (McAllester and Stratos 2020, "difference of entropies"). That excess is of the data, the same
    for every encoder.

    **InfoNCE (van den Oord et al. 2018).** Which of N patches at this position belongs to the
    tokens? E log N p(own) <= I(Z; X), and <= log N, its ceiling. The patches of group mates are
    no candidates: naive mixing may carry them in the tokens, and negatives must be independent.

    Args:
        width (int): D.
        num_patches (int): L.
        marginal (PatchMarginal): q(x).
        groups (int): G; the batches are made of groups of consecutive images.
    """

    def __init__(self, width: int, num_patches: int, marginal: PatchMarginal, groups: int) -> None:
        super().__init__()
        self.marginal, self.groups, self.num_patches = marginal, groups, num_patches
        components = marginal.components
        self.decoder = MODELS.build(
            dict(
                type='mmpretrain.MAEPretrainDecoder',
                num_patches=num_patches,
                patch_size=1,
                in_chans=MIXTURE * (1 + 2 * components) + CRITIC,  # predicted of each patch
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
        """Both estimates, each the mean over an image's masked patches, (B,)."""
        mask_BL, ids_restore_BL = masks_from_visible(batch.ids_visible_BV, self.num_patches)
        predicted = self.decoder(batch.tokens_BnD, ids_restore_BL)
        x_BLk = batch.patches_BLk
        J, k = MIXTURE, self.marginal.components
        logit_BLJ, mean_BLJk, scale_BLJk, query_BLd = predicted.split([J, J * k, J * k, CRITIC], -1)
        white_BLJk = self.marginal.whiten(x_BLk)
        mean_BLJk = mean_BLJk.unflatten(-1, (J, k))
        scale_BLJk = scale_BLJk.unflatten(-1, (J, k)).clamp(*SCALES)
        gain_BL = self.marginal.log_density(white_BLJk, logit_BLJ, mean_BLJk, scale_BLJk)
        gain_BL = gain_BL - self.marginal.log_density(white_BLJk)
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
    """Fit both estimates for a number of steps: AdamW, a tenth of it warm-up, cosine decay.

    Raises:
        NotFiniteError: A loss that is not finite.
    """
    probe.train()
    optimizer = torch.optim.AdamW(probe.parameters(), lr=2e-3, weight_decay=1e-4)
    warmup = steps // 10
    schedulers = [CosineAnnealingLR(optimizer, T_max=steps - warmup, begin=warmup, end=steps)]
    if warmup > 1:  # of one step it would keep its first factor
        schedulers.insert(0, LinearLR(optimizer, start_factor=1e-2, begin=0, end=warmup))
    for _ in range(steps):
        gain_B, nce_B = probe(next(batches))
        # A decoder of many coordinates would outweigh the critic: nats a coordinate.
        loss = -gain_B.mean() / probe.marginal.components - nce_B.mean()
        if not loss.isfinite():
            raise NotFiniteError('The estimates are not finite: look at the tokens of the encoder.')
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(probe.parameters(), 1.0)
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


@torch.no_grad()
def measure(probe: InformationProbe, batches: Iterable[Batch]) -> dict[str, float]:
    """The estimates on batches of images that the probe was not fitted on, all of one size.

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
    estimates = {}
    for name, values in found.items():
        groups = torch.cat(values)
        estimates[name] = float(groups.mean())
        estimates[f'{name}_error'] = float(groups.std() / len(groups) ** 0.5)
    estimates['ceiling'] = math.log(probe.candidates(size))
    estimates['images'] = len(groups) * probe.groups
    return estimates
