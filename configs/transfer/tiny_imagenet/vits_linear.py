_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/tiny_imagenet_probe.py',
    '../../_base_/schedules/linear.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='s', img_size=64, patch_size=8))
