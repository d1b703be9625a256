"""What can be known of a data set before the first step, whoever's class it is."""

import contextlib
import logging
import os
from collections.abc import Iterator

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations

from mixae.datasets.folders import SUFFIXES, is_junk, left_out, list_files
from mixae.datasets.guard import guard
from mixae.datasets.image_folders import ImageFolder, ImageNet
from mixae.datasets.seg_folders import ADE20KDataset, SegFolder
from mixae.errors import DataError, MixaeError
from mixae.registry import being_built


@contextlib.contextmanager
def loading(dataset: dict) -> Iterator[None]:
    """What goes wrong while a data set is built becomes a line that names its folder.

    Args:
        dataset (dict): The data set's config.

    Raises:
        DataError: In place of what libraries raise where a folder, a file or a sample is missing.
    """
    try:
        yield
    except MixaeError:
        raise
    except (OSError, RuntimeError, AssertionError, ValueError) as error:
        parts = [dataset]
        while isinstance(dataset.get('dataset'), dict):  # what a wrapper wraps
            dataset = dataset['dataset']
            parts.append(dataset)
        if (part := being_built(error)) is not None and part not in parts:
            raise  # a transform, which no folder of data will mend
        given = ', '.join(
            f'{key}={dataset[key]!r}'
            for key in ('data_root', 'data_prefix', 'split', 'ann_file', 'img_suffix')
            if dataset.get(key)
        )
        reason = str(error).rstrip('.')
        if 'need at least one array' in reason:  # how mmengine says it
            is_folder = 'img_path' in (dataset.get('data_prefix') or ())
            reason = f'it has no sample{f" ({_in_the_folder(dataset)})" if is_folder else ""}'
        raise DataError(
            f'The data set {dataset.get("type")} ({given}) cannot be loaded: {reason}. Name the '
            'folder of your data in data_root.'
        ) from error


def _in_the_folder(dataset: dict) -> str:
    folder = os.path.join(dataset.get('data_root') or '', dataset['data_prefix']['img_path'])
    suffix = dataset.get('img_suffix', '.jpg')
    files = list_files(folder) if os.path.isdir(folder) else []
    line = left_out(files, folder, len(files), f'not {suffix}')
    return line.rstrip('.') if line else f'{folder} is empty'


def check_dataset(dataset) -> None:
    """Check a data set, and guard the files it loads (:mod:`mixae.datasets.guard`).

    Args:
        dataset: The data set, or one that wraps others (``dataset``, ``datasets``).

    Raises:
        DataError: Class names that are one text; a hidden folder that became a class; masks that
            hold less than two classes.
    """
    guard(dataset)
    for inner in (getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', ())):
        if inner is not None:
            check_dataset(inner)
    if not isinstance(dataset, BaseDataset):
        return
    check_class_names(dataset)
    _check_folders(dataset)
    if isinstance(dataset, BaseSegDataset):
        _check_labels(dataset)


def check_class_names(dataset: BaseDataset) -> None:
    """Make sure that classes are names, not the letters of one.

    Raises:
        DataError: They are one text: in Python, ('square') is no tuple.
    """
    classes = dataset.metainfo.get('classes')
    if isinstance(classes, str):
        raise DataError(
            f'metainfo.classes of {type(dataset).__name__} is the text {classes!r}, and would be '
            f"read letter by letter; a tuple of one name has a comma: ('{classes}',)."
        )


def _check_folders(dataset: BaseDataset) -> None:
    """Say what mmpretrain's and mmseg's own readers leave out; ours say it themselves."""
    if isinstance(dataset, ImageFolder | ImageNet | SegFolder | ADE20KDataset) or dataset.ann_file:
        return
    if isinstance(dataset, BaseSegDataset):
        suffixes, ours = (dataset.img_suffix,), 'mixae.SegFolder'
    elif isinstance(dataset, CustomDataset):
        suffixes, ours = dataset.extensions, 'mixae.ImageFolder'
        hidden = [name for name in dataset.metainfo.get('classes') or () if is_junk(name)]
        if dataset.with_label and hidden:
            raise DataError(
                f'{dataset.img_prefix}: {", ".join(hidden)} would be a class, and is none. Remove '
                f"it, or read the folder with type='{ours}'."
            )
    else:
        return
    root = dataset.data_prefix['img_path']
    if not os.path.isdir(root):  # another storage
        return
    files = list_files(root)
    ends = (lambda path: path) if isinstance(dataset, BaseSegDataset) else str.lower
    unused = [x for x in files if x.lower().endswith(SUFFIXES) and not ends(x).endswith(suffixes)]
    line = left_out(
        unused, root, len(files), f"not {', '.join(sorted(suffixes))} (type='{ours}' takes them)"
    )
    if line:
        print_log(line, logger='current', level=logging.WARNING)


def _check_labels(dataset: BaseSegDataset) -> None:
    """Masks hold two classes at least; reading stops at the second that is found.

    Of masks of 0 and 255, read with 255 for none, one class is left, and every model is perfect.

    Raises:
        DataError: They hold less.
    """
    classes = dataset.metainfo.get('classes') or ()
    load = [step for step in dataset.pipeline.transforms if isinstance(step, LoadAnnotations)]
    if len(classes) < 2 or not load:
        return
    found = set()
    for i in range(len(dataset)):
        try:
            labels = load[0].transform(dataset.get_data_info(i))['gt_seg_map']
        except Exception:  # the guard names files that cannot be read when they are used
            continue
        found.update(np.unique(labels).tolist())
        if len(found.intersection(range(len(classes))) - {dataset.ignore_index}) > 1:
            return
    if not found:
        return  # no mask can be read
    raise DataError(
        f'The masks in {dataset.data_prefix["seg_map_path"]} hold the labels {sorted(found)} '
        f'(after reduce_zero_label={dataset.reduce_zero_label}), of which {dataset.ignore_index} '
        f'is none: that is less than two of the {len(classes)} classes, and any prediction would '
        f'be perfect. Store classes as 0..{len(classes) - 1}, or correct reduce_zero_label.'
    )
