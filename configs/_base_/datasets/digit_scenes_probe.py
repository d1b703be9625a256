# Digit scenes, one digit a picture at 64x64, both splits without augmentation.
import copy

test_pipeline = [dict(type='PackInputs')]
test_dataloader = dict(
    batch_size=256,
    num_workers=1,
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
train_features = copy.deepcopy(test_dataloader)
train_features['dataset']['dataset']['split'] = 'train'
data_about = dict(name='digit_scenes', description='digit scenes, one digit a picture, 64x64')
