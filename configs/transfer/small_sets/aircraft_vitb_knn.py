_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/small_set_probe.py',
    '../../_base_/schedules/knn.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='b'))
data_root = 'data/aircraft'
train_features = dict(dataset=dict(dataset=dict(type='FGVCAircraft', split='trainval')))
test_dataloader = dict(dataset=dict(dataset=dict(type='FGVCAircraft')))
data_about = dict(name='aircraft', description='FGVC Aircraft, variants', split='test')
