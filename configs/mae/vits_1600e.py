_base_ = [
    '../_base_/models/mae.py',
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/mae_pretrain.py',
    '../_base_/runtime.py',
]
model = dict(backbone=dict(arch='s'))
train_cfg = dict(max_epochs=1600)
