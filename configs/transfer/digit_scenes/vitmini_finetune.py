# Fine-tuning on 1,000 labelled images: with all 8,000 training from scratch is close to perfect, and
# a CPU takes longer than pre-training does.
_base_ = [
    '../../_base_/models/vit_classifier.py',
    '../../_base_/datasets/digit_scenes_cls.py',
    '../../_base_/schedules/finetune.py',
    '../../_base_/runtime.py',
]
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,  # the base names an architecture
            embed_dims=128,
            num_layers=6,
            num_heads=4,
            feedforward_channels=512,
        ),
        img_size=64,
        patch_size=8,
        drop_path_rate=0.0,
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.2)]),
)
train_dataloader = dict(batch_size=50, dataset=dict(subset=1000))
base_lr = 5e-3
warmup_epochs = 2
train_cfg = dict(max_epochs=16)
optim_wrapper = dict(type='OptimWrapper', paramwise_cfg=dict(layer_decay_rate=0.75))
default_hooks = dict(logger=dict(interval=5))
protocol = dict(name='finetune-mixup-1000-images-16e', version='1')
