"""Checks that the environment works, run by its Python; ``--operators`` checks only mmcv's."""

import importlib
import sys

import torch
import torchvision
from mmcv.ops import nms, roi_align

MODULES = (
    *('cv2', 'jsonschema', 'matplotlib', 'mmdet', 'mmengine', 'mmpretrain.models', 'mmseg'),
    *('pycocotools.mask', 'safetensors.torch', 'skimage', 'sklearn', 'timm'),
)

# An mmcv built for another torch may fail to load, or load and compute nonsense. The pinned
# torchvision is the independent answer for both.
generator = torch.Generator().manual_seed(0)
corner = torch.rand(64, 2, generator=generator) * 20
boxes = torch.cat([corner, corner + 1 + torch.rand(64, 2, generator=generator) * 10], dim=1)
scores = torch.rand(64, generator=generator)
_, kept = nms(boxes, scores, iou_threshold=0.5)
torch.testing.assert_close(kept, torchvision.ops.nms(boxes, scores, 0.5))
image = torch.rand(1, 2, 32, 32, generator=generator)
rois = torch.cat([torch.zeros(64, 1), boxes], dim=1)
pooled = roi_align(image, rois, (3, 3), 1.0, 2, 'avg', True)
expected = torchvision.ops.roi_align(image, rois, (3, 3), 1.0, 2, aligned=True)
torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=1e-5)

if '--operators' not in sys.argv:
    for name in MODULES:
        importlib.import_module(name)
