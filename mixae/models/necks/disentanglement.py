"""The disentanglement layers of i-MAE (Sec. 3.1.1, Eq. 3).

Shape legend: B mixtures, n = V + 1 tokens of a mixture (class token first), D encoder width.
"""

from mmengine.model import BaseModule
from torch import Tensor, nn

from mixae.registry import MODELS

BRANCHES = ('dominant', 'subordinate')


@MODELS.register_module()
class Disentanglement(BaseModule):
    """Two linear layers without shared weights: h_1 = F_1(h_m), h_2 = F_2(h_m) (Eq. 3).

    They act on every token of the mixed encoding, the class token included **(ours: the paper
    speaks of the encoding as a whole, and the decoder takes the class token too)**. A branch that
    is not trained has no layer, so that no parameter goes without a gradient.

    Args:
        embed_dim (int): D, the encoder's width.
        branches (Sequence[str]): Of 'dominant' (F_1) and 'subordinate' (F_2). Defaults to both.

    Raises:
        ValueError: An unknown branch, or none.
    """

    def __init__(
        self,
        embed_dim: int,
        branches: tuple[str, ...] = BRANCHES,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not branches or set(branches) - set(BRANCHES):
            raise ValueError(f'branches={branches!r}: choose from {BRANCHES}, at least one.')
        self.f_1 = nn.Linear(embed_dim, embed_dim) if 'dominant' in branches else None
        self.f_2 = nn.Linear(embed_dim, embed_dim) if 'subordinate' in branches else None

    def forward(self, mixed_BnD: Tensor) -> dict[str, Tensor]:
        """The encoding of each image of the mixture, (B, n, D) under its branch's name."""
        layers = zip(BRANCHES, (self.f_1, self.f_2), strict=True)
        return {name: layer(mixed_BnD) for name, layer in layers if layer is not None}
