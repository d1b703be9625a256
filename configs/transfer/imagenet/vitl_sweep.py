# 1024 images per step on 8 GPUs, as DINOv2.
_base_ = [
    '../../_base_/models/vit_sweep.py',
    '../../_base_/datasets/imagenet_cls.py',
    '../../_base_/schedules/sweep.py',
    '../../_base_/runtime.py',
]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale='auto', backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=128, dataset=dict(hold_out=0.1, dataset=dict(pipeline=train_pipeline))
)
val_dataloader = dict(dataset=dict(hold_out=0.1, part='held_out', dataset=dict(split='train')))
model = dict(backbone=dict(arch='l'))
