_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/small_folder_probe.py',
    '../../_base_/schedules/knn.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='b'))
data_root = 'data/eurosat'
data_about = dict(name='eurosat', description='EuroSAT, RGB', split='test')
