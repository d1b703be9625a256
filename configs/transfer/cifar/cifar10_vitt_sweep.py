_base_ = [
    '../../_base_/models/vit_sweep.py',
    '../../_base_/datasets/cifar_cls.py',
    '../../_base_/schedules/sweep.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='ti', img_size=32, patch_size=4))
train_dataloader = dict(batch_size=256, dataset=dict(hold_out=0.1))
val_dataloader = dict(
    dataset=dict(hold_out=0.1, part='held_out', dataset=dict(data_prefix='train'))
)
