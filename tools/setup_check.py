"""Checks that the environment set-up has built really works; run by its own Python.

``--operators`` checks only that mmcv's compiled operators load and compute with the installed
torch; without it, everything mixae imports is loaded. Exits with 1 and one line that names the
culprit.
"""

import argparse
import importlib
import importlib.util
import sys
from pathlib import Path

MODULES = (
    'cv2',
    'jsonschema',
    'matplotlib',
    'mmdet',
    'mmengine',
    'mmpretrain.models',
    'mmseg',
    'pycocotools.mask',
    'safetensors.torch',
    'skimage',
    'sklearn',
    'timm',
)


def check_operators() -> None:
    """Compare mmcv's NMS and RoIAlign with torchvision's.

    A library built against another torch may fail to load, or load and compute nonsense; the pinned
    torchvision is the independent answer for both.

    Raises:
        ImportError: The compiled library does not load.
        RuntimeError: It loads and computes something else.
    """
    import torch
    import torchvision
    from mmcv.ops import nms, roi_align

    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(64, 2, generator=generator) * 20
    boxes = torch.cat([corner, corner + 1 + torch.rand(64, 2, generator=generator) * 10], dim=1)
    scores = torch.rand(64, generator=generator)
    _, kept = nms(boxes, scores, iou_threshold=0.5)
    if not torch.equal(kept, torchvision.ops.nms(boxes, scores, 0.5)):
        raise RuntimeError("mmcv's nms differs from torchvision's")

    image = torch.rand(1, 2, 32, 32, generator=generator)
    rois = torch.cat([torch.zeros(64, 1), boxes], dim=1)
    ours = roi_align(image, rois, (3, 3), 1.0, 2, 'avg', True)
    theirs = torchvision.ops.roi_align(image, rois, (3, 3), 1.0, 2, aligned=True)
    if not torch.allclose(ours, theirs, atol=1e-5):
        raise RuntimeError("mmcv's roi_align differs from torchvision's")


def check_everything() -> None:
    """Import what mixae needs and make sure that ``mixae`` is this checkout's.

    Raises:
        ImportError: A module does not import, or ``mixae`` is missing or another copy.
    """
    check_operators()
    for name in MODULES:
        importlib.import_module(name)
    # Found, not imported: a mistake in the package's own code is for the tests to report.
    here = Path(__file__).resolve().parent.parent / 'mixae'
    spec = importlib.util.find_spec('mixae')
    origin = spec.origin if spec else None
    if origin is None or Path(origin).resolve().parent != here:
        raise ImportError(f'mixae is {origin or "not installed"}, expected the one in {here}')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--operators', action='store_true', help="check only mmcv's operators")
    args = parser.parse_args()
    # The script's own folder must not stand in for an installed package.
    sys.path[:] = [p for p in sys.path if Path(p).resolve() != Path(__file__).resolve().parent]
    try:
        check_operators() if args.operators else check_everything()
    except Exception as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
