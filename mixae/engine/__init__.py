from .hooks import *  # noqa: F403
from .layer_decay import LayerDecayOptimWrapperConstructor
from .optim import AmpOptimWrapper
from .runner import MixaeRunner

__all__ = ['AmpOptimWrapper', 'LayerDecayOptimWrapperConstructor', 'MixaeRunner']
