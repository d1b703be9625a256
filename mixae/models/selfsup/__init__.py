from .imae import IMAE
from .mixedae import MixedAE

__all__ = ['IMAE', 'MixedAE']
