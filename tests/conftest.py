"""Real images, small, for every test that reads files: digits and photographs of scikit-learn."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

os.environ.setdefault('OMP_NUM_THREADS', '1')

SPLITS = dict(train=12, test=6)


@pytest.fixture(scope='session')
def real_data() -> Path:
    """The folder of real data sets that MIXAE_TEST_DATA names."""
    folder = os.environ.get('MIXAE_TEST_DATA')
    if not folder or not Path(folder).is_dir():
        pytest.skip(f'MIXAE_TEST_DATA={folder!r} names no folder of real images')
    return Path(folder)


@pytest.fixture(scope='session')
def image_folder(tmp_path_factory) -> Path:
    """train/ and test/ of four classes, 12 and 6 images of 32x32 a class; PNG and JPEG."""
    root = tmp_path_factory.mktemp('images')
    rng = np.random.default_rng(0)
    digits, photos = load_digits(), load_sample_images().images
    drawn = 0
    for split, count in SPLITS.items():
        for kind in ('zero', 'one', 'temple', 'flower'):
            folder = root / split / kind
            folder.mkdir(parents=True)
            for i in range(count):
                if kind in ('zero', 'one'):
                    values = digits.images[digits.target == (kind == 'one')][drawn + i]
                    image = Image.fromarray((values / 16 * 255).astype(np.uint8))
                    image.convert('RGB').resize((32, 32)).save(folder / f'{i}.png')
                else:
                    y, x = rng.integers(0, 390), rng.integers(0, 600)
                    photo = photos[0 if kind == 'temple' else 1]
                    image = Image.fromarray(photo[y : y + 32, x : x + 32])
                    image.save(folder / f'{i}.jpg', quality=90)
        drawn += count
    return root
