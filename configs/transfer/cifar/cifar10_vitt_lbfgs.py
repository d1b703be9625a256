_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/cifar_probe.py',
    '../../_base_/schedules/lbfgs.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='ti', img_size=32, patch_size=4))
data_about = dict(name='cifar10')
