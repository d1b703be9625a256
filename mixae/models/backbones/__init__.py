from .timm_encoder import TimmEncoder
from .vit import MaskedViT

__all__ = ['MaskedViT', 'TimmEncoder']
