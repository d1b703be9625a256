"""The fast crop of photographs is mmpretrain's crop with Pillow's resize."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.transforms import LoadImageFromFile
from mmpretrain.datasets.transforms import RandomResizedCrop
from PIL import Image, ImageOps
from scipy import stats
from sklearn.datasets import load_sample_images
from torchvision.transforms import RandomResizedCrop as TorchvisionCrop

from mixae.datasets import FastRandomResizedCrop

PHOTO = load_sample_images().images[0]  # (427, 640, 3)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(20, 427),
    width=st.integers(20, 640),
    side=st.sampled_from((32, 96, 224)),
    interpolation=st.sampled_from(('bicubic', 'bilinear')),
    seed=st.integers(0, 1000),
)
def test_crops_are_mmpretrains_and_pixels_pillows(height, width, side, interpolation, seed):
    image = PHOTO[:height, :width].copy()
    options = dict(scale=side, crop_ratio_range=(0.2, 1.0), interpolation=interpolation)
    results = []
    for crop in (FastRandomResizedCrop(**options), RandomResizedCrop(**options, backend='pillow')):
        np.random.seed(seed)
        results.append(crop(dict(img=image))['img'])
        results.append(np.random.random())  # as many numbers drawn
    ours, after, theirs, expected = results
    assert after == expected
    assert ours.shape == theirs.shape == (side, side, 3) and ours.dtype == np.uint8
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.mean() < 0.5 and np.quantile(difference, 0.99) <= 3


def test_crops_are_distributed_as_torchvisions():
    height, width, n = 300, 400, 2000
    ours = FastRandomResizedCrop(32, crop_ratio_range=(0.2, 1.0))
    np.random.seed(0)
    torch.manual_seed(0)
    image = np.empty((height, width, 3), np.uint8)
    boxes = np.array([ours.rand_crop_params(image) for _ in range(n)])
    picture = Image.new('L', (width, height))
    reference = np.array(
        [TorchvisionCrop.get_params(picture, (0.2, 1.0), (3 / 4, 4 / 3)) for _ in range(n)]
    )
    for measure in (
        lambda box: box[:, 2] * box[:, 3],  # area
        lambda box: box[:, 3] / box[:, 2],  # aspect ratio
        lambda box: box[:, 0] / np.maximum(height - box[:, 2], 1),  # place
        lambda box: box[:, 1] / np.maximum(width - box[:, 3], 1),
    ):
        assert stats.ks_2samp(measure(boxes), measure(reference)).pvalue > 1e-3


@pytest.mark.parametrize('orientation', range(1, 9))
def test_images_are_turned_by_their_exif_orientation_as_pillow_does(orientation, tmp_path):
    image = Image.fromarray(PHOTO[:64, :96])
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = io.BytesIO()
    image.save(data, 'JPEG', quality=95, exif=exif)
    path = tmp_path / 'photo.jpg'
    path.write_bytes(data.getvalue())
    shown = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    # The whole image at its own size, so that nothing is cropped or resized.
    height, width = shown.shape[:2]
    crop = FastRandomResizedCrop((height, width), (1.0, 1.0), (width / height, width / height))
    found = crop(LoadImageFromFile()(dict(img_path=str(path))))['img'][..., ::-1]
    assert found.shape == shown.shape
    assert np.abs(found.astype(int) - shown).mean() < 1


def test_another_interpolation_is_refused():
    with pytest.raises(ValueError, match='lanczos'):
        FastRandomResizedCrop(32, interpolation='lanczos')
