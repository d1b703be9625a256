# DINOv2's linear segmentation probe of a frozen encoder (Oquab et al. 2024), 40k iterations at 512
# (its released config): the last layer after its norm, a batch norm and one 1x1 convolution;
# lr 1e-3 per 16 images, weight decay 1e-4 (not on biases and norms; ours), in float32.
_base_ = ['linear_vitb_160k.py']
model = dict(
    backbone=dict(out_indices=[-1]),
    decode_head=dict(
        _delete_=True,
        type='mixae.BatchNormHead',
        in_channels='auto',
        in_index=0,
        channels='auto',
        dropout_ratio=0,
        num_classes='auto',
        norm_cfg=dict(type='SyncBN'),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
)
base_lr = 1e-3
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(weight_decay=1e-4))
train_cfg = dict(max_iters=40000)
protocol = dict(name='linear-segmentation-bn', version='1')
