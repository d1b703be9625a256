"""MAE's decoder and head for images that are not square.

A config names mmpretrain's, which know squares alone; where the encoder's grid is none, these take
their place (:mod:`mixae.derive.third_party`). Parameters have the same names.
"""

from collections.abc import Sequence

from mmpretrain.models import MAEPretrainDecoder, MAEPretrainHead
from torch import Tensor, nn

from mixae.models.layers.pos_embed import sincos
from mixae.registry import MODELS


@MODELS.register_module()
class MAEDecoder(MAEPretrainDecoder):
    """mmpretrain's ``MAEPretrainDecoder`` with the position embedding of any grid.

    Args:
        grid (Sequence[int]): Rows and columns of patches.
        **kwargs: Of ``MAEPretrainDecoder``.
    """

    def __init__(self, *, grid: Sequence[int], **kwargs) -> None:
        super().__init__(**kwargs)
        self.grid = tuple(grid)

    def init_weights(self) -> None:
        super(MAEPretrainDecoder, self).init_weights()
        # MAEPretrainDecoder's own part, whose position embedding is of a square.
        self.decoder_pos_embed.data.copy_(sincos(self.grid, self.decoder_pos_embed.shape[-1]))
        nn.init.normal_(self.mask_token, std=0.02)


@MODELS.register_module()
class MAEHead(MAEPretrainHead):
    """mmpretrain's ``MAEPretrainHead`` for any grid.

    Args:
        grid (Sequence[int]): Rows and columns of patches.
        **kwargs: Of ``MAEPretrainHead``.
    """

    def __init__(self, *, grid: Sequence[int], **kwargs) -> None:
        super().__init__(**kwargs)
        self.grid = tuple(grid)

    def patchify(self, imgs: Tensor) -> Tensor:
        """Images (B, C, H, W) as patches (B, L, patch_size**2 * C), row by row."""
        (rows, columns), p = self.grid, self.patch_size
        x = imgs.reshape(len(imgs), self.in_channels, rows, p, columns, p)
        return x.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)

    def unpatchify(self, x: Tensor) -> Tensor:
        """Patches (B, L, patch_size**2 * C) as images (B, C, H, W)."""
        (rows, columns), p = self.grid, self.patch_size
        x = x.reshape(len(x), rows, columns, p, p, self.in_channels)
        return x.permute(0, 5, 1, 3, 2, 4).reshape(len(x), -1, rows * p, columns * p)
