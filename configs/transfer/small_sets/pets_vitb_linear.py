_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/small_set_probe.py',
    '../../_base_/schedules/linear.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='b'))
data_root = 'data/pets'
train_features = dict(dataset=dict(dataset=dict(type='OxfordIIITPet', split='trainval')))
test_dataloader = dict(dataset=dict(dataset=dict(type='OxfordIIITPet')))
data_about = dict(name='pets', description='Oxford-IIIT Pets', split='test')
