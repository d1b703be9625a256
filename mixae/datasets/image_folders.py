"""Folders of images for classification, one subfolder per class."""

import logging
import os

from mmengine.fileio import get_file_backend
from mmengine.fileio.backends import LocalBackend
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets import ImageNet as MMPretrainImageNet

from mixae.datasets.folders import SUFFIXES, is_junk, left_out, list_files
from mixae.datasets.imagenet_variants import imagenet_wnids
from mixae.errors import DataError
from mixae.registry import DATASETS


class _NamesWhatIsLeftOut:
    """Reads a folder for mmpretrain's ``CustomDataset`` and those that inherit it.

    Theirs takes no .webp and .tiff without a word, and a hidden folder (.ipynb_checkpoints) or
    __MACOSX for a class, which moves the labels of all classes after it.
    """

    def load_data_list(self) -> list[dict]:
        """As mmpretrain's; a label beyond the classes is an error."""
        data_list = super().load_data_list()
        if self.with_label and self.CLASSES is not None:
            for info in data_list:
                if not 0 <= info['gt_label'] < len(self.CLASSES):
                    raise DataError(
                        f'{self.ann_file} gives {info["img_path"]} the label {info["gt_label"]}; '
                        f'there are {len(self.CLASSES)} classes, 0..{len(self.CLASSES) - 1}.'
                    )
        return data_list

    def _find_samples(self) -> list:
        if not isinstance(get_file_backend(self.img_prefix), LocalBackend):
            return super()._find_samples()
        root = os.path.normpath(self.img_prefix)
        files = list_files(root)
        images = [path for path in files if self.is_valid_file(path)]
        classes = None
        if self.with_label:
            classes = sorted(x.name for x in os.scandir(root) if x.is_dir() and not is_junk(x.name))
            images = [path for path in images if os.path.dirname(path)]
            # By class, then by path: a folder 'a.b' sorts between 'a' and the images in it.
            images.sort(key=lambda path: path.split(os.sep, 1))
        used = set(images)
        wanted = ', '.join(sorted(self.extensions)) + (
            ' in a subfolder per class' if classes else ''
        )
        line = left_out([x for x in files if x not in used], root, len(files), f'not {wanted}')
        if not images:
            raise DataError(
                f'There is no image in {root}: {line or "it is empty."} Set data_root or '
                'data_prefix.'
            )
        if line:
            print_log(line, logger='current', level=logging.WARNING)
        if classes is None:
            return images
        return self._with_labels(images, classes)

    def _with_labels(self, images: list[str], classes: list[str]) -> list[tuple[str, int]]:
        root = os.path.normpath(self.img_prefix)
        self.folder_to_idx = {name: i for i, name in enumerate(classes)}
        if self.CLASSES is None:
            self._metainfo['classes'] = tuple(classes)
        elif len(self.CLASSES) != len(classes):
            raise DataError(
                f'{root} has {len(classes)} subfolders, one per class, for {len(self.CLASSES)} '
                'classes: correct data_root, or the classes of the data set.'
            )
        samples = [(path, self.folder_to_idx[path.split(os.sep, 1)[0]]) for path in images]
        empty = sorted(set(classes) - {classes[label] for _, label in samples})
        if empty:
            print_log(
                f'{root}: no image in {len(empty)} of {len(classes)} classes: '
                f'{", ".join(empty[:8])}.',
                logger='current',
                level=logging.WARNING,
            )
        return samples


@DATASETS.register_module()
class ImageFolder(_NamesWhatIsLeftOut, CustomDataset):
    """mmpretrain's ``CustomDataset`` that counts and names the files it leaves out.

    It takes .tiff and .webp too, in capitals as well, and no folder for a class whose name begins
    with a dot, nor __MACOSX.

    Args:
        extensions (Sequence[str]): Suffixes of images. Defaults to
            :data:`mixae.datasets.folders.SUFFIXES`.
        **kwargs: Of ``CustomDataset``: data_root, data_prefix, with_label, ann_file, ...

    Raises:
        DataError: No image; another number of subfolders than classes; a label beyond the classes.
    """

    def __init__(self, *args, extensions: tuple[str, ...] = SUFFIXES, **kwargs) -> None:
        super().__init__(*args, extensions=extensions, **kwargs)


@DATASETS.register_module()
class ImageNet(_NamesWhatIsLeftOut, MMPretrainImageNet):
    """mmpretrain's ``ImageNet``, reading its folders as :class:`ImageFolder` does."""

    IMG_EXTENSIONS = SUFFIXES

    def _with_labels(self, images: list[str], classes: list[str]) -> list[tuple[str, int]]:
        """As :class:`ImageFolder`; the folders are ImageNet's, whose names give the labels."""
        samples = super()._with_labels(images, classes)
        wrong = sorted(set(classes) - set(imagenet_wnids()))
        if wrong and tuple(self.CLASSES) == tuple(self.METAINFO['classes']):
            raise DataError(
                f'{os.path.normpath(self.img_prefix)}: {wrong[0]} is no class of ImageNet, and '
                'would move the labels of those after it. Expected the 1000 folders named by '
                'WordNet id, such as n01440764; other classes are read by mixae.ImageFolder.'
            )
        return samples
