# ImageNet-1K, both splits with the centre crop, for protocols that read features.
import copy

data_root = 'data/imagenet'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size='auto'),
    dict(type='PackInputs'),
]
test_dataloader = dict(
    batch_size=128,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mixae.SeededDataset',
        on_unreadable='raise',
        dataset=dict(type='mixae.ImageNet', data_root='auto', split='val', pipeline=test_pipeline),
    ),
)
train_features = copy.deepcopy(test_dataloader)
train_features['dataset']['dataset']['split'] = 'train'
data_about = dict(name='imagenet', description='ImageNet-1K, ILSVRC 2012', split='val')
