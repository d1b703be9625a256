# ImageNet-C: tests a checkpoint that configs/transfer/imagenet/vitb_finetune.py has trained.
_base_ = ['../imagenet/vitb_finetune.py']
data_root = 'data/imagenet-c'
# The images are 224x224 already.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale='auto', edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size='auto'),
    dict(type='PackInputs', meta_keys=('corruption', 'severity')),
]
test_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='mixae.ImageNetVariant',
            data_root='auto',
            corruptions=True,
            pipeline=test_pipeline,
        ),
    ),
)
test_evaluator = dict(_delete_=True, type='mixae.CorruptionError')
task = 'robustness'
protocol = dict(name='robustness-mae', version='1')
data_about = dict(_delete_=True, name='imagenet_c', description='ImageNet-C', split='test')
