_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/small_set_probe.py',
    '../../_base_/schedules/linear.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='b'))
data_root = 'data/flowers102'
# mmpretrain's reader knows no names.
metainfo = dict(classes=[f'flower {number}' for number in range(1, 103)])
train_features = dict(
    dataset=dict(dataset=dict(type='Flowers102', split='trainval', metainfo=metainfo))
)
test_dataloader = dict(dataset=dict(dataset=dict(type='Flowers102', metainfo=metainfo)))
data_about = dict(name='flowers102', description='Oxford Flowers-102', split='test')
