_base_ = [
    '../../_base_/models/vit_classifier.py',
    '../../_base_/datasets/imagenet_cls.py',
    '../../_base_/schedules/finetune.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='b', drop_path_rate=0.1))
base_lr = 0.0005
train_cfg = dict(max_epochs=100)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.65))
protocol = dict(name='finetune-mae', version='1')
