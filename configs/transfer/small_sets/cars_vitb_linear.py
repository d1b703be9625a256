_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/small_set_probe.py',
    '../../_base_/schedules/linear.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='b'))
data_root = 'data/cars'
train_features = dict(dataset=dict(dataset=dict(type='StanfordCars')))
test_dataloader = dict(dataset=dict(dataset=dict(type='StanfordCars')))
data_about = dict(name='cars', description='Stanford Cars', split='test')
