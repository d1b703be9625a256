# CIFAR-10 as a folder of images, both splits without augmentation.
import copy

data_root = 'data/cifar10'
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
test_dataloader = dict(
    batch_size=256,
    num_workers=2,
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
train_features = copy.deepcopy(test_dataloader)
train_features['dataset']['dataset']['data_prefix'] = 'train'
data_about = dict(name='cifar10')
