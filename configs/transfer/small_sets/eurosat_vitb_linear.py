_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/small_set_probe.py',
    '../../_base_/schedules/linear.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='b'))
data_root = 'data/eurosat'
train_features = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='mixae.ImageFolder',
            data_root='auto',
            data_prefix='train',
            with_label=True,
            pipeline={{_base_.test_pipeline}},
        ),
    ),
)
test_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='mixae.ImageFolder',
            data_root='auto',
            data_prefix='test',
            with_label=True,
            pipeline={{_base_.test_pipeline}},
        ),
    ),
)
data_about = dict(name='eurosat', description='EuroSAT, RGB', split='test')
