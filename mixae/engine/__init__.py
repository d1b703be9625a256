from .hooks import *  # noqa: F403
from .optim import AmpOptimWrapper
from .runner import MixaeRunner

__all__ = ['AmpOptimWrapper', 'MixaeRunner']
