_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/small_set_probe.py',
    '../../_base_/schedules/linear.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='b'))
data_root = 'data/cub'
train_features = dict(dataset=dict(dataset=dict(type='CUB')))
test_dataloader = dict(dataset=dict(dataset=dict(type='CUB')))
data_about = dict(name='cub', description='CUB-200-2011', split='test')
