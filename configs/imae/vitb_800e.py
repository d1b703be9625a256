# Its teacher: ../mae/vitb_800e.py, trained first.
_base_ = [
    '../_base_/models/imae.py',
    '../_base_/datasets/imagenet_pairs.py',
    '../_base_/schedules/mae_pretrain.py',
    '../_base_/runtime.py',
]
# The paper gives no schedule for ImageNet: MAE's 800 epochs (ours).
model = dict(
    backbone=dict(arch='b'),
    teacher=dict(checkpoint='work_dirs/mae/vitb_800e/epoch_800.pth'),
)
warmup_epochs = 40
train_cfg = dict(max_epochs=800)
