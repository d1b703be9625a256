# A short fine-tuning, 5 epochs, with Mixup as every row of it: a CPU does it in three minutes.
_base_ = [
    '../../_base_/models/vit_classifier.py',
    '../../_base_/datasets/digit_scenes_cls.py',
    '../../_base_/schedules/finetune.py',
    '../../_base_/runtime.py',
]
model = dict(
    backbone=dict(
        arch='mini',
        img_size=64,
        patch_size=8,
        drop_path_rate=0.0,
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.2)]),
)
base_lr = 8e-3
warmup_epochs = 1
train_cfg = dict(max_epochs=5)
optim_wrapper = dict(type='OptimWrapper', paramwise_cfg=dict(layer_decay_rate=0.75))
default_hooks = dict(logger=dict(interval=25))
protocol = dict(name='finetune-mixup', version='1')
