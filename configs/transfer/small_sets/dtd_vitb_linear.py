_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/small_set_probe.py',
    '../../_base_/schedules/linear.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='b'))
data_root = 'data/dtd'
train_features = dict(dataset=dict(dataset=dict(type='DTD', split='trainval')))
test_dataloader = dict(dataset=dict(dataset=dict(type='DTD')))
data_about = dict(name='dtd', description='DTD, split 1', split='test')
