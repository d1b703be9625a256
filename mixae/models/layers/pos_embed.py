"""MAE's fixed position embedding at any grid."""

from mmpretrain.models.utils import build_2d_sincos_position_embedding
from torch import Tensor


def sincos(grid: tuple[int, int], width: int) -> Tensor:
    """Sines and cosines of each patch's place, (1, 1 + L, D) float32; the class token's are 0.

    Args:
        grid (tuple[int, int]): Rows and columns of patches, which are counted row by row.
        width (int): D, a multiple of 4. Its first half encodes the row, the second the column.
    """
    rows, columns = grid
    # mmpretrain's counts (height, width) column by column, which is the same for a square alone.
    return build_2d_sincos_position_embedding((columns, rows), width, cls_token=True).float()
