_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/small_set_probe.py',
    '../../_base_/schedules/linear.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='b'))
data_root = 'data/sun397'
train_features = dict(dataset=dict(dataset=dict(type='SUN397')))
test_dataloader = dict(dataset=dict(dataset=dict(type='SUN397')))
data_about = dict(name='sun397', description='SUN397, split 1', split='test')
