from .homologous_attention import HomologousAttention
from .masking import draw_visible, masks_from_visible
from .mixing import complementary_masks, group_size, mix, unmix
from .mixture import MixingWeight, mix_pairs

__all__ = [
    'HomologousAttention',
    'MixingWeight',
    'complementary_masks',
    'draw_visible',
    'group_size',
    'masks_from_visible',
    'mix',
    'mix_pairs',
    'unmix',
]
