# Digit scenes, one digit per picture at 64x64, for pre-training: crops as in MAE, but no flips,
# because a mirrored digit is not a digit.
train_pipeline = [
    dict(
        type='RandomResizedCrop',
        scale='auto',
        crop_ratio_range=(0.5, 1.0),
        backend='cv2',
        interpolation='bicubic',
    ),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='mixae.EpochSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mixae.SeededDataset',
        dataset=dict(
            type='mixae.DigitScenes',
            data_root='auto',
            split='train',
            pipeline=train_pipeline,
        ),
    ),
)
data_about = dict(name='digit_scenes', description='digit scenes, one digit a picture, 64x64')
