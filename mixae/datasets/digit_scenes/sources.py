"""The real data digit scenes are made of, and how it is divided between training and test.

Digits: scikit-learn's 1,797 handwritten 8x8 digits. Backgrounds: ten photographs and textures that
ship inside the scikit-learn and scikit-image packages; nothing is ever downloaded.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from mixae.errors import DataError

SPLITS = ('train', 'test')
TEST_SHARE = 0.2  # of the samples of each digit (ours)
TEST_WIDTH = 0.4  # of the width of each photograph (ours)
MARGIN = 16  # pixels between the two areas of a photograph that no picture uses (ours)
TILE = 8  # edge of scikit-learn's digits, in cells


@dataclass(frozen=True)
class Stuff:
    """One background class: the package and file it comes from, and the tint of grey textures."""

    name: str
    package: str
    file: str
    tint: tuple[float, float, float] | None
    palette: tuple[int, int, int]


# A class is a photograph: 'temple' is everything in it, its sky and its trees included (ours).
STUFF = (
    Stuff('brick', 'skimage', 'data/brick.png', (1.35, 0.85, 0.65), (178, 74, 52)),
    Stuff('grass', 'skimage', 'data/grass.png', (0.80, 1.05, 0.45), (96, 160, 48)),
    Stuff('gravel', 'skimage', 'data/gravel.png', (1.00, 0.94, 0.86), (150, 140, 125)),
    Stuff('fur', 'skimage', 'data/chelsea.png', None, (205, 150, 100)),
    Stuff('coffee', 'skimage', 'data/coffee.png', None, (120, 60, 20)),
    Stuff('stars', 'skimage', 'data/hubble_deep_field.jpg', None, (20, 20, 60)),
    Stuff('tissue', 'skimage', 'data/ihc.png', None, (150, 130, 200)),
    Stuff('moon', 'skimage', 'data/moon.png', (1.0, 1.0, 1.0), (120, 130, 140)),
    Stuff('temple', 'sklearn', 'datasets/images/china.jpg', None, (200, 60, 110)),
    Stuff('flower', 'sklearn', 'datasets/images/flower.jpg', None, (255, 180, 90)),
)


@dataclass
class Sources:
    """Everything pictures are made of.

    Args:
        digits (np.ndarray): (S, 8, 8) uint8, ink 0..16.
        targets (np.ndarray): (S,) int64, the digit each sample shows.
        photos (dict[str, np.ndarray]): (H, W, 3) uint8 RGB by the name of the stuff class, in
            label order.
    """

    digits: np.ndarray
    targets: np.ndarray
    photos: dict[str, np.ndarray]

    @cached_property
    def samples(self) -> dict[str, list[np.ndarray]]:
        """Ids of the digit samples by split and digit; the same for every seed of the scenes."""
        # Own bit stream: another seed of the scenes must not move a test sample into training.
        keys = np.random.Generator(np.random.PCG64(1797)).random(len(self.targets))
        samples = {split: [] for split in SPLITS}
        for digit in range(10):
            ids = np.flatnonzero(self.targets == digit)
            ids = ids[np.argsort(keys[ids], kind='stable')]
            num_test = int(len(ids) * TEST_SHARE)
            samples['test'].append(np.sort(ids[:num_test]))
            samples['train'].append(np.sort(ids[num_test:]))
        return samples

    def area(self, split: str, name: str) -> tuple[int, int, int, int]:
        """The part (x0, y0, x1, y1) of photograph ``name`` that ``split`` may use, in pixels."""
        height, width = self.photos[name].shape[:2]
        cut = int(width * (1 - TEST_WIDTH))
        return (0, 0, cut, height) if split == 'train' else (cut + MARGIN, 0, width, height)

    @cache  # noqa: B019  (one long-lived object a build)
    def levels(self, split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The area of ``split`` at full and at half size, float32 (h, w, 3).

        Halved after the cut, so that no pixel averages over the boundary.
        """
        x0, y0, x1, y1 = self.area(split, name)
        full = self.photos[name][y0:y1, x0:x1]
        h, w = full.shape[0] // 2 * 2, full.shape[1] // 2 * 2
        quads = full[:h, :w].astype(np.uint16).reshape(h // 2, 2, w // 2, 2, 3)
        half = quads.sum(axis=(1, 3), dtype=np.uint16).astype(np.float32) / np.float32(4)
        return full.astype(np.float32), half

    @cache  # noqa: B019
    def glyph(self, sample: int) -> np.ndarray:
        """The ink of one sample as a smooth field: (97, 97) float32 in 0..1, 8 points a cell.

        Catmull-Rom interpolation of the 8x8 cells, zero outside; the centre is point (48, 48).
        Its weights are multiples of 1/1024, so the result is exact on every machine.
        """
        cells = np.pad(self.digits[sample].astype(np.float64), 4)
        # Points lie on a grid whose middle is the corner shared by the four central cells.
        at = np.arange(97) / 8 - 6 + cells.shape[0] / 2 - 0.5
        start = np.floor(at).astype(np.int64)
        t = at - start
        weights = (
            (-t * t * t + 2 * t * t - t) / 2,
            (3 * t * t * t - 5 * t * t + 2) / 2,
            (-3 * t * t * t + 4 * t * t + t) / 2,
            (t * t * t - t * t) / 2,
        )
        rows = sum(w[:, None] * cells[start + k - 1] for k, w in enumerate(weights))
        field = sum(w[None, :] * rows[:, start + k - 1] for k, w in enumerate(weights))
        return np.clip(field / 16, 0, 1).astype(np.float32)

    @cached_property
    def digest(self) -> str:
        """sha256 of all samples and photographs, after decoding."""
        sha = hashlib.sha256()
        for array in (self.digits, self.targets, *self.photos.values()):
            sha.update(np.ascontiguousarray(array).tobytes())
        return sha.hexdigest()

    __hash__ = object.__hash__  # what cache needs; a Sources is never changed in use


def load_sources() -> Sources:
    """Read the digits and photographs out of the installed packages.

    Raises:
        DataError: A package or one of its pictures is missing or damaged.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as e:
        raise DataError(
            f'Digit scenes need scikit-learn and scikit-image ({e}): '
            'pip install scikit-learn scikit-image.'
        ) from e
    try:
        bunch = load_digits()
    except Exception as e:  # whatever its decompression and parsing raise
        raise DataError(
            f'Digit scenes need the digits that ship inside scikit-learn, which cannot be read '
            f'({e}): pip install --force-reinstall scikit-learn.'
        ) from e
    photos = {stuff.name: _read_photo(stuff) for stuff in STUFF}
    return Sources(bunch.images.astype(np.uint8), bunch.target.astype(np.int64), photos)


def _read_photo(stuff: Stuff) -> np.ndarray:
    # Read straight from the package's folder: skimage.data.* may go to the network.
    spec = importlib.util.find_spec(stuff.package)
    distribution = {'skimage': 'scikit-image', 'sklearn': 'scikit-learn'}[stuff.package]
    folder = Path(spec.submodule_search_locations[0]) if spec else Path(stuff.package)
    path = folder / stuff.file
    try:
        with Image.open(path) as image:
            if stuff.tint is None:
                return np.asarray(image.convert('RGB'))
            grey = np.asarray(image.convert('L')).astype(np.float64)
    except Exception as e:  # Pillow raises SyntaxError, struct.error and others than OSError too
        raise DataError(
            f'Digit scenes need the picture {stuff.file} that ships inside {distribution}, but '
            f'{path} cannot be read: pip install --force-reinstall {distribution}.'
        ) from e
    tinted = grey[..., None] * np.asarray(stuff.tint)
    return np.clip(np.floor(tinted + 0.5), 0, 255).astype(np.uint8)
