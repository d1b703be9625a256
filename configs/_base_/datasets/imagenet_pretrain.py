# ImageNet-1K for pre-training: MAE's augmentation, 4096 images per step on 8 GPUs.
data_root = 'data/imagenet'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='mixae.FastRandomResizedCrop',
        scale='auto',
        crop_ratio_range=(0.2, 1.0),
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
            type='mixae.ImageNet', data_root='auto', split='train', pipeline=train_pipeline
        ),
    ),
)
data_about = dict(name='imagenet', description='ImageNet-1K, ILSVRC 2012')
