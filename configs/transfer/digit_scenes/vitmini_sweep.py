_base_ = [
    '../../_base_/models/vit_sweep.py',
    '../../_base_/datasets/digit_scenes_cls.py',
    '../../_base_/schedules/sweep.py',
    '../../_base_/runtime.py',
]
# In 280 steps DINOv2's largest rate, 0.1, is the best of its 13: ours go on to 5.
_rates = (5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
model = dict(backbone=dict(arch='mini', img_size=64, patch_size=8), head=dict(rates=_rates))
train_dataloader = dict(batch_size=256, dataset=dict(hold_out=0.1))
val_dataloader = dict(dataset=dict(hold_out=0.1, part='held_out', dataset=dict(split='train')))
protocol = dict(name='linear-sweep-to-5', version='1')
