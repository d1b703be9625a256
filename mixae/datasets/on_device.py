"""Small images for pre-training, held on the device and augmented there, a batch at a time."""

import math

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from mmpretrain.datasets.transforms import PackInputs, RandomFlip, RandomResizedCrop
from torch import Tensor

from mixae.datasets.seeded import SeededDataset
from mixae.errors import ConfigError, DataError
from mixae.registry import DATASETS, FUNCTIONS

_ATTEMPTS = 10  # to place a crop, before its fallback, as in mmpretrain and torchvision
_DRAWS = 4 * _ATTEMPTS + 1
_MULTIPLY = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FILTERS = ('bilinear', 'bicubic')


@FUNCTIONS.register_module()
def as_it_is(batch):
    """Collates a batch that the data set has made as a whole."""
    return batch


@DATASETS.register_module()
class DeviceDataset(SeededDataset):
    """A :class:`SeededDataset` whose images lie on the device as one tensor of bytes.

    For pre-training on images of one size that fit in memory: CIFAR, Tiny-ImageNet, digit scenes.
    Put in the place of ``mixae.SeededDataset``, with the same options, it reads the images once
    and cuts all crops of a batch at once, where the model is. No process loads data.

    Crops and flips have the distribution of the data set's own pipeline, which may hold loading
    steps, ``RandomResizedCrop``, ``RandomFlip`` and ``PackInputs``. Each is drawn from (seed,
    epoch, image, draw) by a counter-based generator (splitmix64), the same on every device. They
    are not the numbers that the pipeline itself draws. Resizing is Pillow's, antialiased and
    columns first, whatever ``backend`` the pipeline names.

    A batch has no labels (``data_samples`` is None); samplers that need them find them.

    Args:
        device (str, optional): Where the images go. Defaults to None: the run's device.
        **kwargs: Of :class:`SeededDataset`: dataset, subset, seed, on_unreadable, lazy_init.

    Raises:
        ConfigError: A pipeline with another augmentation.
        DataError: Images of several sizes, of another type than uint8, or of other axes.
    """

    def __init__(self, *args, device: str | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.device = torch.device(device or get_device())
        self._images: Tensor | None = None
        self._read_pipeline()

    @classmethod
    def derive(cls, options: dict, facts) -> None:
        """Nothing is loaded beside the training process, and nothing is left to collate."""
        facts.cfg.train_dataloader.update(
            num_workers=0, pin_memory=False, collate_fn=dict(type='mixae.as_it_is')
        )

    @property
    def images(self) -> Tensor:
        """All images, (N, channels, H, W) uint8 in the order of channels that they load in."""
        if self._images is None:
            print_log(f'Reading {len(self)} images to {self.device}.', logger='current')
            images = [self._read(i) for i in range(len(self))]
            sizes = {tuple(image.shape) for image in images}
            if len(sizes) != 1:
                few = ', '.join('x'.join(map(str, size)) for size in sorted(sizes)[:3])
                raise DataError(
                    f'DeviceDataset holds images of one size and found {len(sizes)} ({few}): use '
                    "type='mixae.SeededDataset'."
                )
            self._images = torch.stack(images).permute(0, 3, 1, 2).contiguous().to(self.device)
        return self._images

    def _read(self, idx: int) -> Tensor:
        """One image, (H, W, channels) uint8; grey ones load without an axis for channels."""
        image = SeededDataset.__getitem__(self, idx)['img']
        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            raise DataError(
                f'DeviceDataset holds images of 8 bits, (H, W) or (H, W, channels) of uint8; the '
                f'pipeline gives {image.shape} of {image.dtype}. Load them as uint8 '
                "(to_float32=False), or use type='mixae.SeededDataset'."
            )
        return torch.from_numpy(np.atleast_3d(image).copy())

    def __getitem__(self, idx: int) -> dict:
        """One image as it is augmented: ``inputs``, (channels, side, side) uint8."""
        return dict(inputs=self.__getitems__([idx])['inputs'][0])

    def __getitems__(self, indices: list[int]) -> dict:
        """A batch as it is augmented: ``inputs``, (B, channels, height, width) uint8 on the device.

        Args:
            indices (list[int]): With epoch and draw (:class:`SampleIndex`) as samplers give them.
        """
        keys = torch.tensor(
            [[int(i), getattr(i, 'epoch', 0), getattr(i, 'draw', 0)] for i in indices]
        ).to(self.device, non_blocking=True)
        uniform = uniforms(self.seed, keys, _DRAWS)  # (B, 41)
        images = self.images[keys[:, 0]]
        if self._crop is None:
            flip = uniform[:, -1] < self._flip
            inputs = torch.where(flip[:, None, None, None], images.flip(-1), images)
        else:
            size = images.shape[-2:]
            boxes = random_boxes(uniform, size, self._crop)
            flip = uniform[:, -1] < self._flip
            inputs = resized_crops(
                images, boxes, flip, tuple(self._crop.scale), self._crop.interpolation
            )
        return dict(inputs=inputs, data_samples=None)

    def _read_pipeline(self) -> None:
        self._crop, self._flip = None, 0.0
        loading = []
        for step in self.pipeline.transforms:
            if type(step).__name__ in ('RandomResizedCrop', 'FastRandomResizedCrop') and isinstance(
                step, RandomResizedCrop
            ):
                if step.interpolation not in _FILTERS:
                    raise ConfigError(
                        f'DeviceDataset resizes by {" or ".join(_FILTERS)}, not by '
                        f'interpolation={step.interpolation!r}.'
                    )
                self._crop = step
            elif isinstance(step, RandomFlip):
                if not isinstance(step.prob, float) or step.direction != 'horizontal':
                    raise ConfigError('DeviceDataset flips horizontally, with one probability.')
                self._flip = step.prob
            elif self._crop is None and self._flip == 0 and 'Load' in type(step).__name__:
                loading.append(step)
            elif not isinstance(step, PackInputs):
                raise ConfigError(
                    f'DeviceDataset has no {type(step).__name__} on the device, but loading, '
                    'RandomResizedCrop, RandomFlip and PackInputs in this order: use '
                    "type='mixae.SeededDataset'."
                )
        self.pipeline.transforms = loading


def uniforms(seed: int, keys: Tensor, count: int) -> Tensor:
    """Uniform numbers in [0, 1), a row for each key: the same on every device.

    splitmix64 (Steele et al. 2014) of a counter that starts at a hash of seed and key.

    Args:
        seed (int): Of the data set.
        keys (Tensor): (B, k) int64.
        count (int): Numbers for each key.

    Returns:
        Tensor: (B, count) float64, multiples of 2^-53.
    """
    state = _mix(torch.full_like(keys[:, 0], seed) + _GOLDEN)
    for column in keys.unbind(1):
        state = _mix((state ^ column) + _GOLDEN)
    steps = torch.arange(1, count + 1, device=keys.device) * _GOLDEN
    return _shift(_mix(state[:, None] + steps), 11).double() * 2.0**-53


def _shift(x: Tensor, bits: int) -> Tensor:
    """A logical shift to the right of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MULTIPLY[0]  # wraps, as in 64 unsigned bits
    x = (x ^ _shift(x, 27)) * _MULTIPLY[1]
    return x ^ _shift(x, 31)


def random_boxes(uniform: Tensor, size: tuple[int, int], crop: RandomResizedCrop) -> Tensor:
    """Crops as mmpretrain's ``rand_crop_params`` draws them, (B, 4): top, left, height, width.

    Args:
        uniform (Tensor): (B, 40 or more) in [0, 1): area, ratio and place of ten attempts.
        size (tuple[int, int]): Height and width of the images.
        crop (RandomResizedCrop): With the ranges of area and aspect ratio.
    """
    H, W = size
    low, high = crop.crop_ratio_range
    ratios = [math.log(ratio) for ratio in crop.aspect_ratio_range]
    u = uniform[:, : 4 * _ATTEMPTS].unflatten(1, (4, _ATTEMPTS))  # (B, 4, 10)
    area = (low + (high - low) * u[:, 0]) * (H * W)
    ratio = torch.exp(ratios[0] + (ratios[1] - ratios[0]) * u[:, 1])
    width, height = torch.sqrt(area * ratio).round(), torch.sqrt(area / ratio).round()
    top = (u[:, 2] * (H - height + 1)).floor()
    left = (u[:, 3] * (W - width + 1)).floor()
    boxes = torch.stack([top, left, height, width], dim=-1)  # (B, 10, 4)
    fits = (0 < width) & (width <= W) & (0 < height) & (height <= H)
    # The fallback: the largest box in the middle whose aspect ratio is in the range.
    lowest, highest = crop.aspect_ratio_range
    w = round(min(W, H * highest))
    h = round(min(H, W / lowest))
    whole = boxes.new_tensor([(H - h) // 2, (W - w) // 2, h, w])
    first = fits.int().argmax(1)
    found = boxes[torch.arange(len(boxes), device=boxes.device), first]
    return torch.where(fits.any(1, keepdim=True), found, whole)


def resized_crops(
    images: Tensor, boxes: Tensor, flip: Tensor, size: tuple[int, int], interpolation: str
) -> Tensor:
    """Crops of images, each resized as Pillow resizes it, some of them flipped.

    Resizing by a separable filter is a product with a matrix on either side: of each image its own,
    with the crop and the flip in it.

    Args:
        images (Tensor): (B, channels, H, W) uint8.
        boxes (Tensor): (B, 4): top, left, height, width, in whole pixels.
        flip (Tensor): (B,) bool: which are flipped left to right.
        size (tuple[int, int]): Height and width of the output.
        interpolation (str): 'bicubic' or 'bilinear', antialiased.

    Returns:
        Tensor: (B, channels, *size) uint8.
    """
    top, left, height, width = boxes.unbind(1)
    rows = filter_matrices(top, height, images.shape[-2], size[0], interpolation)
    columns = filter_matrices(left, width, images.shape[-1], size[1], interpolation)
    columns = torch.where(flip[:, None, None], columns.flip(1), columns)
    pixels = images.float() @ columns[:, None].mT  # (B, channels, H, width out)
    # Pillow rounds and clips between the two passes. Columns come first, as in every release before
    # 13; since then a crop whose height shrinks by far more than its width is turned round.
    pixels = rows[:, None] @ (pixels + 0.5).floor().clamp(0, 255)
    return (pixels + 0.5).floor().clamp(0, 255).byte()


def filter_matrices(
    start: Tensor, length: Tensor, pixels: int, size: int, interpolation: str
) -> Tensor:
    """How a run of pixels is resized: weights of the pixels for each output, (B, size, pixels).

    Args:
        start, length (Tensor): (B,): first pixel and number of pixels of each run.
        pixels (int): Of a whole line.
        size (int): Of the output.
        interpolation (str): 'bicubic' or 'bilinear'.
    """
    scale = (length / size)[:, None, None].float()
    widen = scale.clamp(min=1)  # of the filter, where pixels are averaged
    outputs = torch.arange(size, device=start.device)[None, :, None] + 0.5
    place = torch.arange(pixels, device=start.device)[None, None] - start[:, None, None].float()
    x = ((place + 0.5 - outputs * scale) / widen).abs()
    if interpolation == 'bilinear':
        weights = (1 - x).clamp(min=0)
    else:  # Keys' cubic, a = -1/2
        near = (1.5 * x - 2.5) * x * x + 1
        far = ((-0.5 * x + 2.5) * x - 4) * x + 2
        weights = torch.where(x < 1, near, torch.where(x < 2, far, 0.0))
    inside = (place >= 0) & (place < length[:, None, None])
    weights = torch.where(inside, weights, 0.0)
    return weights / weights.sum(-1, keepdim=True)
