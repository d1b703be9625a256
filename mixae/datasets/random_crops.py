"""Random crops of photographs, at the speed of the JPEG decoder."""

import torch
from mmpretrain.datasets.transforms import RandomResizedCrop
from torch.nn import functional as F

from mixae.registry import TRANSFORMS


@TRANSFORMS.register_module()
class FastRandomResizedCrop(RandomResizedCrop):
    """mmpretrain's ``RandomResizedCrop`` with torch's resize, which is as Pillow's and faster.

    The crops are the same, drawn from the same random numbers. Pixels are those of
    ``backend='pillow'`` but for rounding: torch resizes 8-bit images by the same antialiased
    filters, with vector instructions, and reads the crop where it lies. Pillow takes as long as the
    JPEG decoder, and mmcv copies the image twice for it.

    Args:
        scale (int | tuple[int, int]): Side, or (height, width), of the output in pixels. 'auto' is
            the encoder's input.
        crop_ratio_range (tuple[float, float]): Area of the crop, of the image's. Defaults to
            (0.08, 1.0).
        aspect_ratio_range (tuple[float, float]): Width over height. Defaults to (3 / 4, 4 / 3).
        interpolation (str): 'bicubic' or 'bilinear', antialiased. Defaults to 'bicubic'.
    """

    def __init__(
        self,
        scale: int | tuple[int, int],
        crop_ratio_range: tuple[float, float] = (0.08, 1.0),
        aspect_ratio_range: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = 'bicubic',
    ) -> None:
        if interpolation not in ('bicubic', 'bilinear'):
            raise ValueError(f"interpolation={interpolation!r}: choose 'bicubic' or 'bilinear'.")
        super().__init__(
            scale,
            crop_ratio_range,
            aspect_ratio_range,
            interpolation=interpolation,
            backend='torch',
        )

    def transform(self, results: dict) -> dict:
        """``img``, (height, width, channels) of 8 bits, becomes the resized crop."""
        image = results['img']
        top, left, height, width = self.rand_crop_params(image)
        crop = torch.from_numpy(image[top : top + height, left : left + width])
        crop = F.interpolate(
            crop.permute(2, 0, 1)[None],
            size=tuple(self.scale),
            mode=self.interpolation,
            antialias=True,
        )
        # A view: the memory is in the order that PackInputs wants.
        results['img'] = crop[0].permute(1, 2, 0).numpy()
        results['img_shape'] = results['img'].shape
        return results
