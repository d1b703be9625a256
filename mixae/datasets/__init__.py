# mmpretrain registers the data sets and transforms that our configs name.
import mmpretrain.datasets  # noqa: F401

from .sampling import EpochSampler, SampleIndex
from .seeded import SeededDataset

__all__ = ['EpochSampler', 'SampleIndex', 'SeededDataset']
