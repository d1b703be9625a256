"""Images of any number of channels, such as a satellite's bands, from NumPy files."""

import numpy as np
from mmcv.transforms import BaseTransform

from mixae.datasets.guard import UnreadableError
from mixae.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadArray(BaseTransform):
    """Load an image from a ``.npy`` file: (H, W) or (H, W, C), as float32.

    It takes the place of ``LoadImageFromFile``; ``CustomDataset`` with ``extensions=('.npy',)``
    finds the files.

    Raises:
        UnreadableError: From a sample, a file that is no array of numbers of that form.
    """

    def transform(self, results: dict) -> dict:
        path = results['img_path']
        try:
            image = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UnreadableError(f'{path} cannot be read as an array: {error}') from error
        if not isinstance(image, np.ndarray) or image.ndim not in (2, 3) or 0 in image.shape:
            shape = getattr(image, 'shape', 'several arrays')
            raise UnreadableError(f'{path} holds {shape}; expected an array (H, W) or (H, W, C).')
        if image.dtype.kind not in 'buif' or not np.isfinite(image).all():
            raise UnreadableError(
                f'{path} holds values that are no finite numbers ({image.dtype}).'
            )
        results['img'] = image.astype(np.float32)
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results
