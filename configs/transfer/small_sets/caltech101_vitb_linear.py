_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/small_set_probe.py',
    '../../_base_/schedules/linear.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='b'))
data_root = 'data/caltech101'
train_features = dict(dataset=dict(dataset=dict(type='Caltech101')))
test_dataloader = dict(dataset=dict(dataset=dict(type='Caltech101')))
data_about = dict(name='caltech101', description='Caltech-101', split='test')
