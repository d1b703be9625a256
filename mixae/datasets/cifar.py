"""CIFAR as folders of images, one subfolder a class, as our configs read it."""

from pathlib import Path

from mmengine.utils import track_progress
from torchvision.datasets import CIFAR10, CIFAR100

from mixae.datasets.about import write_about
from mixae.datasets.folders import SUFFIXES, list_files
from mixae.errors import ConfigError, DataError
from mixae.files import check_folder, replace_whole

CIFAR = {'cifar10': CIFAR10, 'cifar100': CIFAR100}
IMAGES = {'train': 50_000, 'test': 10_000}


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
        ConfigError: Another ``name``.
        DataError: No archive and no way to fetch it (says where to put it).
        OutputError: A file that cannot be written.
    """
    if name not in CIFAR:
        raise ConfigError(f'{name!r} is not prepared here: choose one of {", ".join(CIFAR)}.')
    out = Path(out)
    check_folder(out)
    for split in IMAGES:
        try:
            data = CIFAR[name](out / 'original', train=split == 'train', download=download)
        except (RuntimeError, OSError) as error:
            raise DataError(
                f'{name} could not be fetched ({error}). Put {CIFAR[name].filename} (MD5 '
                f'{CIFAR[name].tgz_md5}) into {out / "original"} and run this again.'
            ) from error

        def write(i: int, split=split, data=data) -> None:
            image, label = data[i]
            path = out / split / data.classes[label] / f'{i:05d}.png'
            if not path.exists():
                with replace_whole(path) as draft:  # a kill leaves no half of an image
                    image.save(draft)

        print(f'{name} {split}')
        track_progress(write, range(len(data)))
    describe_folder(out, name, f'{name.upper().replace("CIFAR", "CIFAR-")}, lossless')
    return out


def describe_folder(root: str | Path, name: str, description: str) -> None:
    """Check a folder of CIFAR images and note in ``dataset.json`` what its images are.

    Run records quote that note, so that a table says which form of the data it was measured on.

    Raises:
        DataError: A split is missing or has another number of images or classes.
    """
    root = Path(root)
    classes = {'cifar10': 10, 'cifar100': 100}[name]
    for split, expected in IMAGES.items():
        names = list_files(root / split) if (root / split).is_dir() else []
        files = [root / split / name for name in names if name.lower().endswith(SUFFIXES)]
        folders = {path.parent for path in files}
        if len(files) != expected or len(folders) != classes:
            raise DataError(
                f'{root / split} holds {len(files)} images in {len(folders)} classes; {name} has '
                f'{expected} in {classes}.'
            )
    write_about(root, name=name, description=description, images=IMAGES)
