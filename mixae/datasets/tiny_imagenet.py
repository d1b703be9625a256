"""Tiny-ImageNet as folders of classes: download, check, sort the validation images."""

import hashlib
import re
import shutil
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

from mixae.datasets.about import NAME, read_about, write_about
from mixae.errors import DataError
from mixae.files import replace_whole

URL = 'https://cs231n.stanford.edu/tiny-imagenet-200.zip'
ARCHIVE = 'tiny-imagenet-200.zip'
MD5 = '90528d7ca1a48142e341f4ef8d21d0de'
IMAGES = dict(train=100_000, val=10_000)
DESCRIPTION = 'Tiny-ImageNet-200 as published: 64x64 JPEG, 200 classes; test is its val split'

_CLASS = re.compile(r'n\d{8}')
_FILE = re.compile(r'[\w-]+\.JPEG')


def prepare_tiny_imagenet(
    data_root: str | Path = 'data/tiny_imagenet',
    archive: str | Path | None = None,
    *,
    url: str = URL,
    md5: str = MD5,
    images: dict[str, int] = IMAGES,
) -> Path:
    """Make ``train/<class>/*.JPEG`` and ``val/<class>/*.JPEG`` below ``data_root``.

    Does nothing where that is done already. The archive is downloaded next to the data unless it
    is there or given, checked by its MD5, and kept. The folders appear complete or not at all.

    Args:
        data_root (str | Path): Where to. Defaults to 'data/tiny_imagenet'.
        archive (str | Path, optional): ``tiny-imagenet-200.zip`` that was downloaded by hand.
        url (str): Where from.
        md5 (str): What the archive must hash to.
        images (dict[str, int]): Number of images expected in each split.

    Returns:
        Path: ``data_root``.

    Raises:
        DataError: No archive and no network, an archive that is damaged or another one,
            or a folder in the way that this function has not made.
    """
    data_root = Path(data_root)
    if _is_complete(data_root, md5):
        return data_root
    in_the_way = [data_root / name for name in (*images, NAME) if (data_root / name).exists()]
    if in_the_way:
        raise DataError(
            f'{", ".join(map(str, in_the_way))} exist(s), but is no Tiny-ImageNet that this tool '
            'prepared: move it away, or choose another folder.'
        )
    archive = _find_archive(data_root, archive, url, md5)
    partial = data_root / 'partial'
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)  # fails where it is a link to somewhere else
        counts = _extract(archive, partial)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise DataError(f'{archive} cannot be unpacked: {error}.') from error
    if counts != images:
        raise DataError(f'{archive} holds {counts} images, expected {images}.')
    for split in images:
        (partial / split).rename(data_root / split)
    shutil.rmtree(partial)
    # Last: its presence says that all is there.
    write_about(data_root, description=DESCRIPTION, archive_md5=md5, images=counts)
    return data_root


def _is_complete(data_root: Path, md5: str) -> bool:
    told = read_about(data_root)
    images = told.get('images')
    if told.get('archive_md5') != md5 or not isinstance(images, dict):
        return False
    return all(
        sum(1 for _ in (data_root / split).glob('*/*.JPEG')) == count
        for split, count in images.items()
    )


def _find_archive(data_root: Path, archive: str | Path | None, url: str, md5: str) -> Path:
    """The checked archive: the given one, the one in ``data_root``, or a fresh download."""
    by_hand = (
        f'Download {url} by hand (MD5 {md5}), put it at {data_root / ARCHIVE} or name it with '
        '--archive FILE, and run this again.'
    )
    if archive is not None and not Path(archive).is_file():
        raise DataError(f'There is no file {archive}. {by_hand}')
    path = Path(archive) if archive is not None else data_root / ARCHIVE
    if not path.is_file():
        data_root.mkdir(parents=True, exist_ok=True)
        try:
            with urllib.request.urlopen(url, timeout=30) as response, replace_whole(path) as draft:
                with draft.open('wb') as file:
                    shutil.copyfileobj(response, file, 1 << 20)
        except (OSError, ValueError) as error:
            raise DataError(f'{url} cannot be downloaded ({error}). {by_hand}') from error
    with path.open('rb') as file:
        found = hashlib.file_digest(file, 'md5').hexdigest()
    if found != md5:
        raise DataError(
            f'{path} is damaged or another file: its MD5 is {found}, expected {md5}. Delete it. '
            f'{by_hand}'
        )
    return path


def _extract(archive: Path, target: Path) -> dict[str, int]:
    """Write both splits below ``target``; returns the number of images of each.

    Only names of the expected form are written, so no entry can leave ``target``.
    """
    counts = dict(train=0, val=0)
    with zipfile.ZipFile(archive) as zip_file:
        top = next(
            PurePosixPath(name).parts[0] for name in zip_file.namelist() if name.endswith('.txt')
        )
        lines = zip_file.read(f'{top}/val/val_annotations.txt').decode().splitlines()
        val_class = dict(line.split('\t')[:2] for line in lines if line.strip())
        for entry in zip_file.infolist():
            parts = PurePosixPath(entry.filename).parts[1:]
            match parts:
                case ['train', label, 'images', file]:
                    split = 'train'
                case ['val', 'images', file]:
                    split, label = 'val', val_class[file]
                case _:
                    continue  # the test split has no labels
            if not (_CLASS.fullmatch(label) and _FILE.fullmatch(file)):
                raise zipfile.BadZipFile(f'unexpected entry {entry.filename!r}')
            folder = target / split / label
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(zip_file.read(entry))
            counts[split] += 1
    return counts
