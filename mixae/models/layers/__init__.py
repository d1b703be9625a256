from .homologous_attention import HomologousAttention
from .mixing import complementary_masks, group_size, masks_from_visible, mix, unmix

__all__ = [
    'HomologousAttention',
    'complementary_masks',
    'group_size',
    'masks_from_visible',
    'mix',
    'unmix',
]
