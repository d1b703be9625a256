"""Mixtures of two images (i-MAE, Sec. 3.1, Eq. 1).

Shape legend: a batch of 2B images is B mixtures of an anchor I_1 and its partner I_2.
"""

import math
from numbers import Real
from typing import NamedTuple

import torch
from torch import Tensor

from mixae.errors import ConfigError


class MixingWeight:
    """Where a, the weight of I_1, comes from.

    Args:
        mix (dict): Exactly one of ``beta``: a is drawn for each mixture from Beta(beta, beta), and
            ``subordinate``: 1 - a is this constant in [0, 0.5]. An entry that is None is off.

    Raises:
        ConfigError: Anything else.
    """

    def __init__(self, mix: dict) -> None:
        given = {k: v for k, v in mix.items() if v is not None} if isinstance(mix, dict) else mix
        match given:
            case {'beta': Real() as beta} if len(given) == 1 and 0 < beta < math.inf:
                self.beta, self.subordinate = float(beta), None
            case {'subordinate': Real() as share} if len(given) == 1 and 0 <= share <= 0.5:
                self.beta, self.subordinate = None, float(share)
            case _:
                raise ConfigError(
                    f'mix={given!r}: give exactly one of beta (above 0: the weight of the first '
                    'image is drawn from Beta(beta, beta)) and subordinate (the constant share of '
                    'the second image, in [0, 0.5]).'
                )

    def draw(self, count: int, device: torch.device | str = 'cpu') -> Tensor:
        """a of ``count`` mixtures, in [0, 1]."""
        if self.beta is None:
            return torch.full((count,), 1 - self.subordinate, device=device)
        beta_B = torch.full((count,), self.beta, device=device)
        # Checked above; checking again would wait for the GPU at each step.
        return torch.distributions.Beta(beta_B, beta_B, validate_args=False).sample()


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


def mix_pairs(inputs: Tensor, weights_B: Tensor) -> Mixture:
    """Mix adjacent pairs of images, I_m = a I_1 + (1 - a) I_2, and order each pair.

    Args:
        inputs (Tensor): 2B images, (2B, 3, H, W): anchor, partner, anchor, partner, ...
        weights_B (Tensor): a, the weight of each anchor, in [0, 1].

    Raises:
        ConfigError: An odd number of images.
    """
    if len(inputs) % 2:
        raise ConfigError(
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
