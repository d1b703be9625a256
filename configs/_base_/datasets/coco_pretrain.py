# COCO's training images without their labels, for pre-training on many objects per image: MAE's
# augmentation, 4096 images per step on 8 GPUs.
data_root = 'data/coco'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='RandomResizedCrop',
        scale='auto',
        crop_ratio_range=(0.2, 1.0),
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=512,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='mixae.EpochSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mixae.SeededDataset',
        dataset=dict(
            type='mmpretrain.CustomDataset',
            data_root='auto',
            data_prefix='train2017',
            with_label=False,
            pipeline=train_pipeline,
        ),
    ),
)
data_about = dict(name='coco', description='COCO 2017, training images without labels')
