"""Test sets with ImageNet's classes: ImageNet-A, R, Sketch, V2 and C."""

import os
from functools import cache
from importlib.resources import files

from mmpretrain.datasets import CustomDataset

from mixae.datasets.folders import SUFFIXES, is_junk, left_out, list_files
from mixae.errors import DataError
from mixae.registry import DATASETS

CORRUPTIONS = (
    *('gaussian_noise', 'shot_noise', 'impulse_noise'),
    *('defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur'),
    *('snow', 'frost', 'fog', 'brightness'),
    *('contrast', 'elastic_transform', 'pixelate', 'jpeg_compression'),
)


@cache
def imagenet_wnids() -> tuple[str, ...]:
    """ImageNet-1K's classes in the order of their labels, as timm ships them."""
    text = files('timm.data').joinpath('_info/imagenet_synsets.txt').read_text('utf-8')
    return tuple(text.split())


@DATASETS.register_module()
class ImageNetVariant(CustomDataset):
    """A folder with one subfolder per class, named by WordNet id or, as ImageNet-V2's, by label.

    Labels are those of ImageNet's 1000 classes. ``metainfo['tested']`` are the labels that there
    are folders for: 200 in ImageNet-A and R, among which alone a prediction is then chosen
    (:class:`mixae.evaluation.SubsetAccuracy`).

    Args:
        data_root (str): The folder.
        corruptions (bool): It is ImageNet-C's: CORRUPTION/SEVERITY/CLASS/ with the 15 corruptions
            and severities 1 to 5. Defaults to False.
        **kwargs: Of ``CustomDataset``: pipeline, ...

    Raises:
        DataError: No such folder, no image, a folder that is no class, a corruption or severity
            that is missing.
    """

    def __init__(self, data_root: str, *, corruptions: bool = False, **kwargs) -> None:
        self.corruptions = corruptions
        super().__init__(data_root=data_root, **{'test_mode': True, **kwargs})

    def load_data_list(self) -> list[dict]:
        root = os.path.normpath(self.data_root)
        if not os.path.isdir(root):
            raise DataError(
                f'There is no folder {root}: docs/datasets/small_sets.md says what it is.'
            )
        parts = [((), {})]
        if self.corruptions:
            parts = [
                ((kind, str(severity)), dict(corruption=kind, severity=severity))
                for kind in CORRUPTIONS
                for severity in range(1, 6)
            ]
        wnids = {wnid: label for label, wnid in enumerate(imagenet_wnids())}
        found, tested = [], set()
        for inside, about in parts:
            folder = os.path.join(root, *inside)
            if not os.path.isdir(folder):
                raise DataError(
                    f'There is no folder {folder}: ImageNet-C has {len(CORRUPTIONS)} corruptions '
                    'with severities 1 to 5 each.'
                )
            paths, unused = list_files(folder), []
            labels = {}
            for name in sorted(x.name for x in os.scandir(folder) if x.is_dir()):
                if is_junk(name):
                    continue
                labels[name] = label = wnids.get(name, int(name) if name.isdigit() else -1)
                if not 0 <= label < len(wnids):
                    raise DataError(
                        f'{os.path.join(folder, name)} is no class of ImageNet: expected folders '
                        'named by WordNet id, such as n01440764, or by label, 0 to 999.'
                    )
            for path in paths:
                name, inner = path.split(os.sep)[0], os.path.dirname(path)
                if not inner or not path.lower().endswith(SUFFIXES):
                    unused.append(path)
                    continue
                tested.add(labels[name])
                entry = dict(img_path=os.path.join(folder, path), gt_label=labels[name])
                found.append(entry | about)
            if len(unused) == len(paths):
                line = left_out(unused, folder, len(paths), 'no image in a subfolder per class')
                raise DataError(f'There is no image in {folder}: {line or "it is empty."}')
        self._metainfo['classes'] = imagenet_wnids()
        self._metainfo['tested'] = tuple(sorted(tested))
        return found
