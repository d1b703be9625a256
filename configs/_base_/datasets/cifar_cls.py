# CIFAR-10 as a folder of images, for classification. Crops of 32 after padding 4, flips.
num_classes = 10
data_root = 'data/cifar10'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size='auto', padding=4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=256,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='mixae.EpochSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mixae.SeededDataset',
        dataset=dict(
            type='mixae.ImageFolder',
            data_root='auto',
            data_prefix='train',
            with_label=True,
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mixae.SeededDataset',
        on_unreadable='raise',
        dataset=dict(
            type='mixae.ImageFolder',
            data_root='auto',
            data_prefix='test',
            with_label=True,
            test_mode=True,
            pipeline=test_pipeline,
        ),
    ),
)
test_dataloader = val_dataloader
data_about = dict(name='cifar10')
