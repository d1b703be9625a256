"""What images that a classifier is fitted on, and those it is tested on, have in common."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from mmpretrain.datasets.categories import IMAGENET_CATEGORIES

from mixae.datasets.imagenet_variants import imagenet_wnids
from mixae.errors import ConfigError, DataError


def classes_of(metainfo: Mapping | None) -> list[str]:
    """Names of a data set's classes, in the order of their labels; empty if it has none."""
    names = list((metainfo or {}).get('classes') or ())
    # Readers name ImageNet's classes by folder or in words: both mean the same labels.
    return list(IMAGENET_CATEGORIES) if names == list(imagenet_wnids()) else names


def labels_of_images(dataset) -> Iterator[int]:
    """The labels of a data set, image by image; none where it does not tell them."""
    for index in range(len(dataset)):
        try:
            yield from dataset.get_cat_ids(index)
        except (AttributeError, KeyError, NotImplementedError, TypeError):
            return


def check_several_classes(dataset, what: str) -> None:
    """A classifier that sees, or is asked for, one class alone measures nothing.

    Images without a label are left to those who read them.

    Args:
        dataset: The data set.
        what (str): 'training', 'validation' or 'test', for the message.

    Raises:
        DataError: All images have one label.
    """
    labels = labels_of_images(dataset)
    label = next(labels, None)
    if label is None or any(other != label for other in labels):
        return
    classes = classes_of(dataset.metainfo)
    raise DataError(
        f'All {len(dataset)} {what} images are of one class ({classes[label] if classes else label}'
        '): any classifier would be right. Expected images of two classes or more: correct '
        'data_root, or the subset.'
    )


def check_same_classes(trained: Sequence, tested: Sequence, what: str = 'classes') -> None:
    """Make sure that labels mean the same where a classifier is fitted and where it is tested.

    Folders of another layout are read as classes without a word: the validation images of
    Tiny-ImageNet, as its archive unpacks, are one class called 'images'.

    Args:
        trained, tested (Sequence[str]): Names in the order of labels; empty if they are not known.
        what (str): 'classes', or 'folders' that were numbered. Defaults to 'classes'.

    Raises:
        ConfigError: Names that differ, or stand in another order.
    """
    if not (trained and tested) or list(trained) == list(tested):
        return
    first = next((i for i, (a, b) in enumerate(zip(trained, tested, strict=False)) if a != b), 0)
    told = []
    for names in (trained, tested):
        part = ', '.join(map(str, names[first : first + 4]))
        before, after = '... ' if first else '', ', ...' if len(names) > first + 4 else ''
        told.append(f'{len(names)} ({before}{part}{after})')
    raise ConfigError(
        f'The training images have the {what} {told[0]}, the test images {told[1]}: give both the '
        'same folders, one a class, or the same metainfo.classes.'
    )


def check_same_labels(trained, tested) -> None:
    """Make sure that two data sets number the same classes, and the same folders, alike.

    Raises:
        ConfigError: Classes, or their folders, that differ.
    """
    check_same_classes(*(classes_of(getattr(one, 'metainfo', None)) for one in (trained, tested)))
    check_same_classes(_folders(trained), _folders(tested), 'folders')


def check_splits(trained, tested, what: Sequence[str] = ('training', 'test')) -> None:
    """Make sure that a data set can test what was fitted on another.

    Args:
        trained, tested: The data sets.
        what (Sequence[str]): What they are of, for the message. Defaults to training and test.

    Raises:
        ConfigError: Classes, or their folders, that differ.
        DataError: Images that are in both.
    """
    check_same_labels(trained, tested)
    wanted = set(image_keys(tested))
    common = sorted(wanted.intersection(image_keys(trained)))
    if common:
        raise DataError(
            f'{len(common)} of the {len(tested)} {what[1]} images are {what[0]} images as well, '
            f'such as {common[0]}: a number for them says nothing of others. Correct the split, '
            'data_prefix or list of files of one of them.'
        )


def image_keys(dataset) -> Iterator[str]:
    """What tells each image of a data set from all others: its file, or its place in what holds it.

    Folders that are links are followed. A file that is copied, or linked by itself, is another one.
    """
    if hasattr(dataset, 'datasets'):
        for one in dataset.datasets:
            yield from image_keys(one)
        return
    if not hasattr(dataset, 'get_data_info'):
        return
    inner = dataset
    while hasattr(inner, 'dataset'):
        inner = inner.dataset
    find = cache(os.path.realpath)
    roots = (getattr(inner, 'data_root', None) or '', *getattr(inner, 'data_prefix', {}).values())
    names = (type(inner).__name__, *dict.fromkeys(map(find, roots)))
    names += (getattr(inner, 'split', ''), getattr(inner, 'ann_file', ''))
    place = ', '.join(filter(None, map(str, names)))
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        if path := info.get('img_path'):
            folder, name = os.path.split(path)
            yield os.path.join(find(folder), name)
        else:
            yield f'image {info.get("img_id", info.get("sample_idx"))} of {place}'


def image_hashes(dataset) -> Iterator[str]:
    """The same in a form that tells no path."""
    return (hashlib.sha256(key.encode()).hexdigest() for key in image_keys(dataset))


def _folders(dataset) -> list[str]:
    """The folders whose place among the others became a label."""
    return list(getattr(getattr(dataset, 'dataset', dataset), 'folder_to_idx', None) or ())
