"""What digit scenes are made with, and where they lie."""

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mixae.errors import ConfigError

from .sources import SPLITS

ROOT_VARIABLE = 'MIXAE_DIGIT_SCENES'
DEFAULT_ROOT = 'data/digit_scenes'
MAX_DIGITS = 8


@dataclass(frozen=True)
class Options:
    """What one part of digit scenes is made with (all defaults ours).

    Args:
        seed (int): Another seed gives other pictures from the same samples and areas; what is
            training material stays so under every seed.
        size (int): Edge of a picture in pixels, 32..256.
        num_train (int): Training pictures.
        num_test (int): Test pictures.
        digits (tuple[int, int]): Least and largest number of digits tried a picture, 1..8.
        backgrounds (tuple[int, int]): Least and largest number of backgrounds a picture, 1..3.
        height (tuple[float, float]): Smallest and largest height of a digit's 8x8 tile, as a share
            of ``size``, in (0, 1].

    Raises:
        ConfigError: A value is outside the range given above.
    """

    seed: int = 0
    size: int = 64
    num_train: int = 8000
    num_test: int = 2000
    digits: tuple[int, int] = (1, 1)
    backgrounds: tuple[int, int] = (1, 1)
    height: tuple[float, float] = (0.5, 0.95)

    def __post_init__(self) -> None:
        for name, low, high in (
            ('seed', 0, 2**63 - 1),
            ('size', 32, 256),
            ('num_train', 1, 10**6),
            ('num_test', 1, 10**6),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(f'{name}={value!r}: expected an integer in {low}..{high}.')
        for name, low, high, kind in (
            ('digits', 1, MAX_DIGITS, int),
            ('backgrounds', 1, 3, int),
            ('height', 0.1, 1.0, (int, float)),
        ):
            value = tuple(getattr(self, name))
            object.__setattr__(self, name, value)  # a config file may give a list
            if (
                len(value) != 2
                or not all(isinstance(v, kind) for v in value)
                or not low <= value[0] <= value[1] <= high
            ):
                raise ConfigError(
                    f'{name}={value!r}: expected (least, largest) with '
                    f'{low} <= least <= largest <= {high}.'
                )

    def count(self, split: str) -> int:
        """Number of pictures of ``split``."""
        return self.num_train if split == 'train' else self.num_test


DEFAULTS = {
    'classification': Options(),
    'scenes': Options(
        size=128,
        num_train=1200,
        num_test=300,
        digits=(1, 5),
        backgrounds=(1, 3),
        height=(0.26, 0.5),
    ),
}


def check_split(split: str) -> str:
    """Return ``split``, or raise ConfigError that names the known ones."""
    if split not in SPLITS:
        raise ConfigError(f'split={split!r}: digit scenes have the splits {", ".join(SPLITS)}.')
    return split


def find_root(data_root: str | os.PathLike | None = None) -> Path:
    """The folder of all parts: the argument, else $MIXAE_DIGIT_SCENES, else data/digit_scenes."""
    return Path(data_root or os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT).expanduser()


def make_options(part: str, **changes) -> Options:
    """The default options of ``part`` ('classification' or 'scenes') with ``changes``.

    Raises:
        ConfigError: The part or an option is unknown, or a value is out of range.
    """
    if part not in DEFAULTS:
        raise ConfigError(f'part={part!r}: digit scenes have the parts {", ".join(DEFAULTS)}.')
    known = list(asdict(DEFAULTS[part]))
    for name in changes:
        if name not in known:
            raise ConfigError(f'Unknown option {name!r} of digit scenes: known are {known}.')
    options = replace(DEFAULTS[part], **changes)
    if part == 'classification' and options.digits != (1, 1):
        raise ConfigError(f'digits={options.digits}: a classification picture has one digit.')
    return options
