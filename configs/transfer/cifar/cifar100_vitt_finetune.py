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
train_dataloader = dict(dataset=dict(dataset=dict(data_root='data/cifar100')))
val_dataloader = dict(dataset=dict(dataset=dict(data_root='data/cifar100')))
test_dataloader = val_dataloader
protocol = dict(name='finetune-mixup', version='1')
data_about = dict(name='cifar100')
