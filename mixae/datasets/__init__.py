import contextlib
import io

# mmpretrain registers the data sets and transforms that our configs name. The mm* packages
# print, each at import, that an optional back-end of theirs is absent.
with contextlib.redirect_stdout(io.StringIO()):
    import mmdet.datasets  # noqa: F401
    import mmpretrain.datasets  # noqa: F401
    import mmseg.datasets  # noqa: F401

from .arrays import LoadArray
from .checks import check_dataset
from .cifar import prepare_cifar
from .coco import CocoDataset
from .digit_scenes import (
    DigitScenes,
    DigitScenesCoco,
    DigitScenesImages,
    DigitScenesSeg,
)
from .image_folders import ImageFolder, ImageNet
from .imagenet_variants import ImageNetVariant
from .on_device import DeviceDataset, as_it_is
from .pair_sampler import PairSampler
from .random_crops import FastRandomResizedCrop
from .sampling import EpochSampler, InfiniteEpochSampler, SampleIndex
from .seeded import SeededDataset
from .seg_folders import ADE20KDataset, SegFolder
from .seg_labels import CheckSegLabels
from .timm_reader import TimmReaderDataset
from .tiny_imagenet import prepare_tiny_imagenet

__all__ = [
    'ADE20KDataset',
    'CheckSegLabels',
    'CocoDataset',
    'DeviceDataset',
    'DigitScenes',
    'DigitScenesCoco',
    'DigitScenesImages',
    'DigitScenesSeg',
    'EpochSampler',
    'FastRandomResizedCrop',
    'ImageFolder',
    'ImageNet',
    'ImageNetVariant',
    'InfiniteEpochSampler',
    'LoadArray',
    'PairSampler',
    'SampleIndex',
    'SeededDataset',
    'SegFolder',
    'TimmReaderDataset',
    'as_it_is',
    'check_dataset',
    'prepare_cifar',
    'prepare_tiny_imagenet',
]
