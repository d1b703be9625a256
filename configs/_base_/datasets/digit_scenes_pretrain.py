# Digit scenes, one digit a picture at 64x64, for pre-training: crops and flips as in MAE.
train_pipeline = [
    dict(
        type='RandomResizedCrop',
        scale=64,
        crop_ratio_range=(0.2, 1.0),
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=256,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='mixae.EpochSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mixae.SeededDataset',
        dataset=dict(type='mixae.DigitScenes', split='train', pipeline=train_pipeline),
    ),
)
data_about = dict(name='digit_scenes', description='digit scenes, one digit a picture, 64x64')
