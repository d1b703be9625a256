# The paper gives its fine-tuning recipe for CIFAR only; the same here (ours).
_base_ = [
    '../../_base_/models/vit_classifier.py',
    '../../_base_/datasets/tiny_imagenet_cls.py',
    '../../_base_/schedules/finetune_small.py',
    '../../_base_/runtime.py',
]
model = dict(
    backbone=dict(arch='s', img_size=64, patch_size=8),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8)]),
)
protocol = dict(name='finetune-mixup', version='1')
