_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/digit_scenes_probe.py',
    '../../_base_/schedules/lbfgs.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='mini', img_size=64, patch_size=8))
