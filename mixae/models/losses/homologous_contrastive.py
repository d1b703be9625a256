"""The homologous contrastive loss of MixedAE (Sec. 3.2).

Shape legend: M mixed samples, G images a group, L patches a mixed sample (L/G of each image, in
the order of the images), D encoder width, d width of the projection.
"""

import math

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mixae.registry import MODELS


@MODELS.register_module()
class HomologousContrastiveLoss(BaseModule):
    """SupCon's L_out over the patches of a mixed sample: patches of one image are positives.

    It verifies the TopK sampling: encoded patches of the same image are pulled together, those of
    the other images of the group pushed apart. Similarity is the cosine over ``temperature``
    after a small projection head; a patch is not its own positive or negative.

    Args:
        in_dim (int): D, the encoder's width.
        proj_dim (int): d, width of the projection head's hidden and output layer **(ours)**.
            Defaults to 128.
        temperature (float): tau **(ours: the paper's summary gives none)**. Defaults to 0.25.
        weight (float): lambda, the weight beside the reconstruction loss **(ours)**. Defaults to
            0.1.
        layer (int, optional): Compare the features of this layer, 0 for the first, after the
            encoder's final norm **(ours)**. Defaults to None: those of the last layer.
        subtract_segment (bool): Compare tokens less the segment embedding, which otherwise tells
            the images apart by itself **(ours)**. Defaults to False.

    What ``layer`` and ``subtract_segment`` ask for, :class:`MixedAE` hands in.
    """

    def __init__(
        self,
        in_dim: int,
        proj_dim: int = 128,
        temperature: float = 0.25,
        weight: float = 0.1,
        layer: int | None = None,
        subtract_segment: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if temperature <= 0:
            raise ValueError(f'temperature={temperature} must be positive.')
        if weight < 0:
            raise ValueError(f'weight={weight} must not be negative.')
        self.temperature = temperature
        self.weight = weight
        self.layer = layer
        self.subtract_segment = subtract_segment
        self.projector = nn.Sequential(
            nn.Linear(in_dim, proj_dim), nn.GELU(), nn.Linear(proj_dim, proj_dim)
        )

    @classmethod
    def derive(cls, options: dict, facts) -> None:
        """``in_dim`` is the encoder's width."""
        facts.fill(options, in_dim=facts.encoder.get('width'))

    def forward(self, patches_MLD: Tensor, groups: int) -> Tensor:
        """The unweighted loss, a 0-dim tensor, from encoded patch tokens in order of images."""
        return supcon_loss(self.projector(patches_MLD), groups, self.temperature)

    def floor(self, num_patches: int, groups: int) -> float:
        """The least value the loss can take; see :func:`supcon_floor`."""
        return supcon_floor(num_patches, groups, self.temperature)


def supcon_loss(z_MLd: Tensor, groups: int, temperature: float) -> Tensor:
    """Mean of SupCon's L_out (Khosla et al. 2020, Eq. 2) over the patches of each mixed sample.

    L_out(i) = -1/|P(i)| sum_{p in P(i)} log( exp(s_ip/tau) / sum_{a != i} exp(s_ia/tau) ), with
    P(i) the other patches of the image of i, and a running over all patches of the mixed sample.

    Raises:
        ValueError: If an image has fewer than 2 patches: it has no positives.
    """
    M, L, _ = z_MLd.shape
    per_image = L // groups
    if per_image < 2:
        raise ValueError(
            f'The contrastive loss needs 2 patches of each image in a mixed sample, got '
            f'{per_image} ({L} patches, groups of {groups}).'
        )
    with torch.autocast(z_MLd.device.type, enabled=False):
        z_MLd = F.normalize(z_MLd.float(), dim=-1)
        logits_MLL = z_MLd @ z_MLd.transpose(1, 2) / temperature
        self_LL = torch.eye(L, dtype=torch.bool, device=z_MLd.device)
        log_total_ML = logits_MLL.masked_fill(self_LL, -torch.inf).logsumexp(dim=-1)
        # Sum over the positives of i: z_i . (sum of its image's z) less the self term z_i . z_i.
        z_MGVd = z_MLd.reshape(M, groups, per_image, -1)
        own_MGVd = z_MGVd.sum(dim=2, keepdim=True) - z_MGVd
        positive_ML = (z_MGVd * own_MGVd).sum(dim=-1).reshape(M, L) / temperature
        return (log_total_ML - positive_ML / (per_image - 1)).mean()


def supcon_floor(num_patches: int, groups: int, temperature: float) -> float:
    """log(P + N exp(-(1 + 1/(G-1)) / tau)), with P = L/G - 1 positives and N = L - L/G negatives.

    Reached when each image's patches coincide and the G images form a regular simplex.
    """
    per_image = num_patches // groups
    positives, negatives = per_image - 1, num_patches - per_image
    return math.log(positives + negatives * math.exp(-(1 + 1 / (groups - 1)) / temperature))
