"""Digit scenes as datasets of mmpretrain, mmdet and mmseg; each makes its data on first use."""

import colorsys
import os
from collections.abc import Sequence

import numpy as np
from mmdet.datasets import CocoDataset
from mmpretrain.datasets import BaseDataset
from mmseg.datasets import BaseSegDataset

from mixae.registry import DATASETS

from .build import DIGIT_NAMES, FOLDERS, prepare
from .options import check_split, find_root, make_options
from .sources import STUFF

DIGIT_PALETTE = tuple(
    tuple(round(255 * c) for c in colorsys.hsv_to_rgb(digit / 10, 0.9, 1)) for digit in range(10)
)


class _DefaultRoot:
    """Data that is made where none is given: no ``data_root`` is needed."""

    @classmethod
    def derive(cls, options: dict, facts) -> None:
        """``data_root`` is the config's, or the default of :func:`find_root`."""
        facts.fill(options, data_root='')


@DATASETS.register_module()
class DigitScenes(_DefaultRoot, BaseDataset):
    """One handwritten digit on a photograph or texture: 10 classes, 64x64 by default.

    A class of ours because no data ships with mmpretrain. Every item has 'img' ((H, W, 3) uint8,
    BGR), 'gt_label' (int), 'img_id', 'ori_shape' and 'img_shape', so that a pipeline starts without
    a loading transform and ends in ``PackInputs``. Pictures stay on disk (memory-mapped).

    Args:
        split (str): 'train' or 'test'.
        data_root (str): Folder of all parts; default $MIXAE_DIGIT_SCENES, else data/digit_scenes.
        options (dict, optional): Changes to the default options of the part 'classification', see
            :class:`mixae.datasets.digit_scenes.options.Options`.
        **kwargs: Arguments of mmpretrain's ``BaseDataset``.

    Raises:
        ConfigError: Unknown split or option.
        DataError: The data cannot be made or read; the message says what to do.
    """

    METAINFO = dict(classes=DIGIT_NAMES)

    def __init__(
        self, split: str = 'train', data_root: str = '', options: dict | None = None, **kwargs
    ) -> None:
        self.split = check_split(split)
        self.options = dict(options or {})
        make_options('classification', **self.options)
        self._images: np.ndarray | None = None
        super().__init__(ann_file='', data_root=str(find_root(data_root)), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Labels of all pictures; makes or checks the data first."""
        folder = prepare('classification', self.data_root, splits=(self.split,), **self.options)
        labels = np.load(folder / f'{self.split}_labels.npy')
        return [dict(img_id=i, gt_label=int(label)) for i, label in enumerate(labels)]

    def get_data_info(self, idx: int) -> dict:
        """The label and the pixels of one picture."""
        info = super().get_data_info(idx)
        if self._images is None:
            path = os.path.join(self.data_root, 'classification', f'{self.split}_images.npy')
            self._images = np.load(path, mmap_mode='r')
        rgb = self._images[info['img_id']]
        info['img'] = np.ascontiguousarray(rgb[..., ::-1])
        info['img_shape'] = info['ori_shape'] = rgb.shape[:2]
        return info

    def get_cat_ids(self, idx: int) -> list[int]:
        """The label of one picture, without reading its pixels."""
        return [int(super().get_data_info(idx)['gt_label'])]

    def get_gt_labels(self) -> np.ndarray:
        """The labels of all pictures, without reading their pixels."""
        return np.array([self.get_cat_ids(i)[0] for i in range(len(self))])

    def __getstate__(self) -> dict:
        # A pickled memory map would carry all pixels into every worker.
        return {**self.__dict__, '_images': None}

    def extra_repr(self) -> list[str]:
        """Where the data lies."""
        return [f'Split: \t{self.split}', f'Data root: \t{self.data_root}']


@DATASETS.register_module()
class DigitScenesImages(_DefaultRoot, BaseDataset):
    """Scenes of any number of digits without their labels, for pre-training: 128x128 by default.

    Args:
        split (str): 'train' or 'test'.
        data_root (str): As in :class:`DigitScenes`.
        folder (str): Below ``data_root``: a folder holds scenes of one set of options, so scenes
            of other options need one of their own. Defaults to '', where detection has its.
        options (dict, optional): Changes to the default options of the part 'scenes'.
        **kwargs: Arguments of mmpretrain's ``BaseDataset``.

    Raises:
        ConfigError, DataError: As in :class:`DigitScenes`.
    """

    METAINFO = {}

    def __init__(
        self,
        split: str = 'train',
        data_root: str = '',
        folder: str = '',
        options: dict | None = None,
        **kwargs,
    ) -> None:
        self.split = check_split(split)
        self.options = dict(options or {})
        make_options('scenes', **self.options)
        root = str(find_root(data_root) / folder)
        super().__init__(ann_file='', data_root=root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Paths of all scenes; makes or checks the data first."""
        where = prepare('scenes', self.data_root, splits=(self.split,), **self.options)
        paths = sorted((where / 'images' / FOLDERS[self.split]).glob('*.png'))
        return [dict(img_path=str(path)) for path in paths]


@DATASETS.register_module()
class DigitScenesCoco(_DefaultRoot, CocoDataset):
    """Several digits a scene with exact boxes and visible masks, for detection: 128x128 by default.

    mmdet's ``CocoDataset`` reads the same files; this class knows where they are and makes them.

    Args:
        split (str): 'train' or 'test'.
        data_root, folder (str): As in :class:`DigitScenesImages`.
        options (dict, optional): Changes to the default options of the part 'scenes'.
        **kwargs: Arguments of mmdet's ``CocoDataset``.

    Raises:
        ConfigError, DataError: As in :class:`DigitScenes`.
    """

    METAINFO = dict(classes=DIGIT_NAMES, palette=list(DIGIT_PALETTE))

    def __init__(
        self,
        split: str = 'train',
        data_root: str = '',
        folder: str = '',
        options: dict | None = None,
        **kwargs,
    ) -> None:
        self.split = check_split(split)
        self.options = dict(options or {})
        make_options('scenes', **self.options)
        where = FOLDERS[split]
        kwargs = {
            'ann_file': f'scenes/coco/instances_{where}.json',
            'data_prefix': dict(img=f'scenes/images/{where}/'),
            **kwargs,
        }
        super().__init__(data_root=str(find_root(data_root) / folder), **kwargs)

    def load_data_list(self) -> list[dict]:
        """All annotations; makes or checks the data first."""
        prepare('scenes', self.data_root, splits=(self.split,), **self.options)
        return super().load_data_list()


@DATASETS.register_module()
class DigitScenesSeg(_DefaultRoot, BaseSegDataset):
    """The same scenes with a class for every pixel, for segmentation: ten digits, ten backgrounds.

    The layout and the zero label are ADE20K's; mmseg's ``BaseSegDataset`` reads the same files, and
    this class knows where they are and makes them.

    Args:
        split (str): 'train' or 'test'.
        data_root, folder (str): As in :class:`DigitScenesImages`.
        options (dict, optional): Changes to the default options of the part 'scenes'.
        **kwargs: Arguments of mmseg's ``BaseSegDataset``.

    Raises:
        ConfigError, DataError: As in :class:`DigitScenes`.
    """

    METAINFO = dict(
        classes=(*DIGIT_NAMES, *(stuff.name for stuff in STUFF)),
        palette=[list(c) for c in (*DIGIT_PALETTE, *(stuff.palette for stuff in STUFF))],
    )

    def __init__(
        self,
        split: str = 'train',
        data_root: str = '',
        folder: str = '',
        options: dict | None = None,
        img_suffix: str = '.png',
        reduce_zero_label: bool = True,
        data_prefix: dict | None = None,
        pipeline: Sequence = (),
        **kwargs,
    ) -> None:
        self.split = check_split(split)
        self.options = dict(options or {})
        make_options('scenes', **self.options)
        where = FOLDERS[split]
        super().__init__(
            data_root=str(find_root(data_root) / folder),
            data_prefix=data_prefix
            or dict(img_path=f'scenes/images/{where}', seg_map_path=f'scenes/annotations/{where}'),
            img_suffix=img_suffix,
            reduce_zero_label=reduce_zero_label,
            pipeline=list(pipeline),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Paths of all scenes; makes or checks the data first."""
        prepare('scenes', self.data_root, splits=(self.split,), **self.options)
        return super().load_data_list()
