"""Images that do not lie in folders: tar files, WebDataset's shards, Hugging Face's data sets."""

import os
import tarfile
from glob import glob

import mmcv
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import Compose
from mmpretrain.datasets import BaseDataset
from timm.data.readers import create_reader
from timm.data.readers.reader_image_in_tar import extract_tarinfos

from mixae.datasets.folders import SUFFIXES, is_junk
from mixae.datasets.guard import UnreadableError, check_depth
from mixae.errors import ConfigError, DataError, MixaeError, describe_error
from mixae.registry import DATASETS


@DATASETS.register_module()
class TimmReaderDataset(BaseDataset):
    """The images and labels that timm's readers find, for any pipeline that loads from files.

    In the place of :class:`ImageFolder` it gives what that gives for the same files unpacked:
    images by class and name, decoded as the pipeline's ``LoadImageFromFile`` says. Images of tar
    files are read by their place in them, in any order and by any process. timm's own reader of
    WebDataset's shards is a stream with an order of its own, which neither samplers nor a resumed
    run could repeat: they are read as the tar files that they are.

    Args:
        reader (str): 'tar': a tar file, a folder of them, or a tar file of tar files; an image's
            class is the folder that holds it, or the tar file. 'wds': the same, but the classes
            are in ``.cls`` files beside the images. 'hfds/NAME': Hugging Face's data set of that
            name or folder (``pip install datasets``). Defaults to 'tar'.
        split (str): Of Hugging Face's data set; and names the tar file. Defaults to 'train'.
        data_prefix (str, optional): The tar file, or the folder of tar files, below ``data_root``;
            of 'hfds' where it is kept, as timm's ``root``. Defaults to None: the file or folder
            that ``split`` names.
        with_label (bool): Whether there are labels. Defaults to True.
        reader_options (dict, optional): Of timm's reader of 'hfds': input_key, target_key, ...
        **kwargs: Of mmpretrain's ``BaseDataset``: data_root, pipeline, classes, metainfo, ...

    Raises:
        ConfigError: An unknown reader; 'hfds' without Hugging Face's package.
        DataError: A tar file or data set that is missing or cannot be read; no image; images
            without a label; another number of classes than ``classes``.
    """

    def __init__(
        self,
        *,
        reader: str = 'tar',
        split: str = 'train',
        data_prefix: str | None = None,
        with_label: bool = True,
        reader_options: dict | None = None,
        ann_file: str = '',
        **kwargs,
    ) -> None:
        hugging_face = reader.startswith('hfds/')
        if reader not in ('tar', 'wds') and not hugging_face:
            raise ConfigError(f"reader={reader!r} is unknown: choose 'tar', 'wds' or 'hfds/NAME'.")
        if reader_options and not hugging_face:
            raise ConfigError(
                f"reader_options={reader_options} go with 'hfds/NAME', not {reader!r}."
            )
        if data_prefix is None and not hugging_face:
            data_prefix = split if os.path.isdir(_join(kwargs, split)) else f'{split}.tar'
        self.reader = reader
        self.split = split
        self.with_label = with_label
        self.reader_options = reader_options or {}
        super().__init__(ann_file=ann_file, data_prefix=data_prefix or '', **kwargs)

    @property
    def pipeline(self) -> Compose:
        """The pipeline, in which each ``LoadImageFromFile`` reads from here."""
        return self._pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Compose) -> None:
        steps = pipeline.transforms
        steps[:] = [
            LoadImageFromReader(self.read, step) if type(step) is LoadImageFromFile else step
            for step in steps
        ]
        self._pipeline = pipeline

    def read(self, stored_at: tuple[str, int, int] | int) -> bytes:
        """A file as it is stored: at (tar file, first byte, bytes), or by its number."""
        if isinstance(stored_at, int):
            return self._reader[stored_at][0].read()
        path, start, size = stored_at
        with open(path, 'rb') as file:
            file.seek(start)
            return file.read(size)

    def load_data_list(self) -> list[dict]:
        """One dict per image: img_path, stored_at and, with labels, gt_label."""
        load = self._load_hugging_face if self.reader.startswith('hfds/') else self._load_tars
        data_list = load()
        if not data_list:
            raise DataError(f'There is no image in {self.img_prefix or self.reader}.')
        return data_list

    def _load_tars(self) -> list[dict]:
        root = os.path.normpath(self.img_prefix)
        tars = sorted(glob(os.path.join(root, '*.tar'))) if os.path.isdir(root) else [root]
        if not tars or not (tars[0].endswith('.tar') and os.path.isfile(tars[0])):
            raise DataError(
                f'{root} is no tar file (.tar) and no folder of them. Set data_root or data_prefix.'
            )
        try:
            # Not timm's cache of what it finds: a pickle beside the data.
            samples, labels, numbers, _ = extract_tarinfos(
                root, cache_tarinfo=False, extensions=set(SUFFIXES), sort=False
            )
            given = _read_labels(tars) if self.with_label and self.reader == 'wds' else {}
        except ValueError:  # timm's for none
            raise DataError(
                f'There is no image in {root}: expected files that end in {", ".join(SUFFIXES)}.'
            ) from None
        except (tarfile.TarError, OSError) as error:
            raise DataError(f'{root} cannot be read: {describe_error(error)}.') from error
        names = {number: name for name, number in numbers.items()}
        found = []
        for (info, tar, parent), label in zip(samples, labels, strict=True):
            inside = os.path.normpath(info.path)
            if any(map(is_junk, inside.split('/'))):
                continue
            path = root if tar is None else os.path.join(root, tar)
            start = info.offset_data + (0 if parent is None else parent.offset_data)
            one = dict(img_path=f'{path}/{inside}', stored_at=(path, start, info.size))
            name = '' if not self.with_label else names[label]
            if self.with_label and self.reader == 'wds':
                name = given.get((path, _stem(inside)))
                if name is None:
                    raise DataError(
                        f"{one['img_path']} has no .cls file beside it. Set reader='tar' for "
                        'classes by folder, or with_label=False.'
                    )
            found.append((name, one))
        found.sort(key=lambda pair: (pair[0], pair[1]['img_path']))
        if self.with_label:
            self._number_classes(found)
        return [one for _, one in found]

    def _number_classes(self, found: list[tuple[str | int, dict]]) -> None:
        """Give each image its label: a class's place among the names, or the number it has."""
        names = sorted({name for name, _ in found})
        if self.reader == 'tar':
            if self.CLASSES is None:
                self._metainfo['classes'] = tuple(names)
            numbers = {name: i for i, name in enumerate(names)}
        else:
            numbers = {number: number for number in names}
        wrong = self.reader == 'tar' and len(names) != len(self.CLASSES)
        if self.CLASSES is not None and (wrong or max(numbers.values()) >= len(self.CLASSES)):
            raise DataError(
                f'{self.img_prefix} has the classes {", ".join(map(str, names[:8]))}'
                f'{", ..." if len(names) > 8 else ""}, {len(names)} in all, for '
                f'{len(self.CLASSES)} classes: correct data_prefix, or the classes of the data set.'
            )
        for name, one in found:
            one['gt_label'] = numbers[name]

    def _load_hugging_face(self) -> list[dict]:
        try:
            self._reader = create_reader(
                self.reader, self.img_prefix or None, self.split, **self.reader_options
            )
            labels = list(self._reader.iter_targets()) if self.with_label else None
        except ImportError as error:
            raise ConfigError(
                f"reader={self.reader!r} needs Hugging Face's package: pip install datasets."
            ) from error
        except Exception as error:  # of its many kinds
            raise DataError(
                f'reader={self.reader!r}, split={self.split!r} cannot be loaded: '
                f'{describe_error(error)}. Correct the name or folder, the split, or '
                'reader_options (input_key, target_key).'
            ) from error
        if labels is not None and self.CLASSES is None and self._reader.class_to_idx:
            names = self._reader.class_to_idx
            self._metainfo['classes'] = tuple(sorted(names, key=names.get))
        name = f'{self.reader}/{self.split}'
        return [
            dict(img_path=f'{name}/{i}', stored_at=i)
            | ({} if labels is None else dict(gt_label=int(labels[i])))
            for i in range(len(self._reader))
        ]


class LoadImageFromReader(LoadImageFromFile):
    """A ``LoadImageFromFile`` of a pipeline, with its options, that reads from a data set.

    Args:
        read (Callable): :meth:`TimmReaderDataset.read`.
        step (LoadImageFromFile): What it takes the place of.

    Raises:
        UnreadableError: From a sample, a file that is no image.
    """

    def __init__(self, read, step: LoadImageFromFile) -> None:
        self.__dict__.update(step.__dict__)
        self.read = read

    def transform(self, results: dict) -> dict | None:
        path, image, cause = results['img_path'], None, None
        try:
            content = self.read(results['stored_at'])
            check_depth(path, content)
            image = mmcv.imfrombytes(content, flag=self.color_type, backend=self.imdecode_backend)
        except MixaeError:
            raise
        except Exception as error:  # of the decoders
            cause = error
        if image is None:
            if self.ignore_empty:
                return None
            raise UnreadableError(
                f'{path} cannot be read as an image: it is damaged, or no image.'
            ) from cause
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results


def _join(options: dict, name: str) -> str:
    return os.path.join(options.get('data_root') or '', name)


def _stem(path: str) -> str:
    """What the files of one sample of WebDataset share: the path up to the name's first dot."""
    folder, name = os.path.split(path)
    return os.path.join(folder, name.split('.')[0])


def _read_labels(tars: list[str]) -> dict[tuple[str, str], int]:
    """The numbers in the ``.cls`` files, by tar file and sample."""
    labels = {}
    for path in tars:
        with tarfile.open(path, 'r:') as tar:
            for member in tar:
                if member.isfile() and member.name.endswith('.cls'):
                    text = tar.extractfile(member).read()
                    if not text.strip().isdigit():
                        raise DataError(
                            f'{path}/{member.name} holds {text[:20]!r}: expected the number of a '
                            'class.'
                        )
                    labels[path, _stem(os.path.normpath(member.name))] = int(text)
    return labels
