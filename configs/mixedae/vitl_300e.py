_base_ = [
    '../_base_/models/mixedae.py',
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/mae_pretrain.py',
    '../_base_/runtime_mixedae.py',
]
model = dict(backbone=dict(arch='l'))
train_cfg = dict(max_epochs=300)
