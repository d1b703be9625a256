# Digit scenes, one digit per picture at 64x64, for classification. Crops of 64 after padding 8. No
# flips: a mirrored digit is not a digit.
num_classes = 10
train_pipeline = [
    dict(type='RandomCrop', crop_size='auto', padding=8, padding_mode='reflect'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='PackInputs')]
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
val_dataloader = dict(
    batch_size=256,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mixae.SeededDataset',
        on_unreadable='raise',
        dataset=dict(
            type='mixae.DigitScenes',
            data_root='auto',
            split='test',
            test_mode=True,
            pipeline=test_pipeline,
        ),
    ),
)
test_dataloader = val_dataloader
data_about = dict(name='digit_scenes', description='digit scenes, one digit a picture, 64x64')
