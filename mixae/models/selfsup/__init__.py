from .any_grid import MAEDecoder, MAEHead
from .imae import IMAE
from .mixedae import MixedAE

__all__ = ['IMAE', 'MAEDecoder', 'MAEHead', 'MixedAE']
