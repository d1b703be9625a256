_base_ = [
    '../../_base_/models/vit_classifier.py',
    '../../_base_/datasets/cifar_cls.py',
    '../../_base_/schedules/finetune_small.py',
    '../../_base_/runtime.py',
]
model = dict(
    backbone=dict(arch='ti', img_size=32, patch_size=4),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8)]),
)
num_classes = 100
data_root = 'data/cifar100'
protocol = dict(name='finetune-mixup', version='1')
data_about = dict(name='cifar100')
