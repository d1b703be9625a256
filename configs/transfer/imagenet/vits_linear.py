# MAE's protocol; 16,384 images a step on 8 GPUs.
_base_ = [
    '../../_base_/models/vit_linear.py',
    '../../_base_/datasets/imagenet_cls.py',
    '../../_base_/schedules/linear_imagenet.py',
    '../../_base_/runtime.py',
]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mixae.FastRandomResizedCrop', scale='auto'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=2048, dataset=dict(dataset=dict(pipeline=train_pipeline)))
model = dict(backbone=dict(arch='s'))
