"""Digit scenes, the data set that needs no download: handwritten digits on real photographs.

- ``sources``: the real data, and what of it is training and what is test material;
- ``scene``: drawing one picture and its labels;
- ``options``: what they are made with, and where they lie;
- ``build``: the files, their lock and checksums;
- ``datasets``: the classes for mmpretrain, mmdet and mmseg.
"""

from mixae.errors import DataError

from .build import draw_picture, prepare
from .datasets import DigitScenes, DigitScenesCoco, DigitScenesImages, DigitScenesSeg
from .options import Options

__all__ = [
    'DigitScenes',
    'DigitScenesCoco',
    'DataError',
    'DigitScenesImages',
    'DigitScenesSeg',
    'Options',
    'draw_picture',
    'prepare',
]
