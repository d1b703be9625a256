# MAE's linear protocol with attentive pooling; 4096 images per step on 8 GPUs.
_base_ = [
    '../../_base_/models/vit_attentive.py',
    '../../_base_/datasets/imagenet_cls.py',
    '../../_base_/schedules/linear_imagenet.py',
    '../../_base_/runtime.py',
]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale='auto', backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=512, dataset=dict(dataset=dict(pipeline=train_pipeline)))
model = dict(backbone=dict(arch='s'))
task = 'attentive'
protocol = dict(name='efficient-probing')
