# mmpretrain registers the data sets and transforms that our configs name.
import mmpretrain.datasets  # noqa: F401

from .digit_scenes import DigitScenes, DigitScenesCoco, DigitScenesSeg
from .pair_sampler import PairSampler
from .sampling import EpochSampler, SampleIndex
from .seeded import SeededDataset

__all__ = [
    'DigitScenes',
    'DigitScenesCoco',
    'DigitScenesSeg',
    'EpochSampler',
    'PairSampler',
    'SampleIndex',
    'SeededDataset',
]
