"""CIFAR as folders of images, one subfolder a class, as our configs read it."""

import json
from pathlib import Path

from mmengine.utils import track_progress
from torchvision.datasets import CIFAR10, CIFAR100

from mixae.errors import DataError
from mixae.files import write_whole

CIFAR = {'cifar10': CIFAR10, 'cifar100': CIFAR100}
IMAGES = {'train': 50_000, 'test': 10_000}
SUFFIXES = {'.png', '.jpg', '.jpeg'}


def prepare_cifar(name: str, out: str | Path, download: bool = True) -> Path:
    """Write CIFAR's original arrays as PNG files, ``out/{train,test}/CLASS/NUMBER.png``.

    Repeating it completes what is there.

    Args:
        name (str): 'cifar10' or 'cifar100'.
        out (str | Path): The folder to write.
        download (bool): Fetch the original archive if it is not in ``out/original``.

    Returns:
        Path: ``out``.

    Raises:
        ValueError: Another ``name``.
        DataError: No archive and no way to fetch it; says where to put it.
    """
    if name not in CIFAR:
        raise ValueError(f'{name!r} is not prepared here: choose one of {", ".join(CIFAR)}.')
    out = Path(out)
    for split in IMAGES:
        try:
            data = CIFAR[name](out / 'original', train=split == 'train', download=download)
        except (RuntimeError, OSError) as error:
            raise DataError(
                f'{name} could not be fetched ({error}). Put {CIFAR[name].filename} (MD5 '
                f'{CIFAR[name].tgz_md5}) into {out / "original"} and run this again.'
            ) from error
        for folder in data.classes:
            (out / split / folder).mkdir(parents=True, exist_ok=True)

        def write(i: int, split=split, data=data) -> None:
            image, label = data[i]
            path = out / split / data.classes[label] / f'{i:05d}.png'
            if not path.exists():
                image.save(path)

        print(f'{name} {split}')
        track_progress(write, range(len(data)))
    describe_folder(out, name, f'{name.upper().replace("CIFAR", "CIFAR-")}, lossless')
    return out


def describe_folder(root: str | Path, name: str, description: str) -> dict:
    """Check a folder of CIFAR images and note in ``dataset.json`` what its images are.

    Run records quote that note, so that a table says which form of the data it was measured on.

    Raises:
        DataError: A split is missing or has another number of images or classes.
    """
    root = Path(root)
    classes = {'cifar10': 10, 'cifar100': 100}[name]
    for split, expected in IMAGES.items():
        files = [p for p in (root / split).rglob('*') if p.suffix.lower() in SUFFIXES]
        folders = {p.parent for p in files}
        if len(files) != expected or len(folders) != classes:
            raise DataError(
                f'{root / split} holds {len(files)} images in {len(folders)} classes; {name} has '
                f'{expected} in {classes}.'
            )
    about = dict(name=name, description=description, images=IMAGES)
    write_whole(root / 'dataset.json', json.dumps(about, indent=2) + '\n')
    return about
