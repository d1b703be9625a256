from .efficient_probe import EfficientProbeHead
from .sweep import SweepHead

__all__ = ['EfficientProbeHead', 'SweepHead']
