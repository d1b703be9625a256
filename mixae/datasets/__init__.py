# mmpretrain registers the data sets and transforms that our configs name.
import mmpretrain.datasets  # noqa: F401

from .coco import CocoDataset
from .digit_scenes import DigitScenes, DigitScenesCoco, DigitScenesSeg
from .image_folders import prepare_cifar
from .pair_sampler import PairSampler
from .pseudo_labels import make_pseudo_labels
from .sampling import EpochSampler, SampleIndex
from .seeded import SeededDataset
from .seg_labels import CheckSegLabels
from .tiny_imagenet import prepare_tiny_imagenet

__all__ = [
    'CheckSegLabels',
    'CocoDataset',
    'DigitScenes',
    'DigitScenesCoco',
    'DigitScenesSeg',
    'EpochSampler',
    'PairSampler',
    'SampleIndex',
    'SeededDataset',
    'make_pseudo_labels',
    'prepare_cifar',
    'prepare_tiny_imagenet',
]
