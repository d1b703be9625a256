# A small data set for protocols that read features; both splits with the centre crop. A config that
# inherits it names data_root, and each split's reader (docs/datasets/small_sets.md).
import copy

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
        dataset=dict(data_root='auto', split='test', pipeline=test_pipeline),
    ),
)
train_features = copy.deepcopy(test_dataloader)
train_features['dataset']['dataset']['split'] = 'train'
