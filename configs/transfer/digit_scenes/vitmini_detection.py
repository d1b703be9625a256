# Boxes and masks of digits with a Mask R-CNN small enough for minutes on a CPU. All settings are
# ours. --pretrained scratch gives the row without pre-training.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    '../../_base_/datasets/digit_scenes_coco.py',
    '../../_base_/schedules/dense_coco.py',
    '../../_base_/runtime.py',
]
default_scope = 'mmdet'
pretrained = 'required'
model = dict(
    data_preprocessor=dict(pad_size_divisor=16),
    # ViT-Mini of ../../mae/vitmini_digits_12e.py; at 128 pixels it sees four times the patches.
    backbone=dict(
        _delete_=True,
        type='mixae.MaskedViT',
        arch='mini',
        img_size=64,
        patch_size=8,
        out_type='featmap',
        final_norm=False,
        train_pos_embed=True,
        pretrained='auto',
    ),
    neck=dict(
        _delete_=True,
        type='mixae.SimpleFeaturePyramid',
        in_channels='auto',
        out_channels=64,
        scales=(2, 1, 0.5),
        num_outs=3,
    ),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4], strides=[4, 8, 16]),
    ),
    roi_head=dict(
        # One sample per bin: digits are small, and adaptive sampling takes a third of the time
        # of the heads.
        bbox_roi_extractor=dict(
            roi_layer=dict(sampling_ratio=1),
            out_channels=64,
            featmap_strides=[4, 8, 16],
            finest_scale=14,
        ),
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=10),
        mask_roi_extractor=dict(
            roi_layer=dict(sampling_ratio=1),
            out_channels=64,
            featmap_strides=[4, 8, 16],
            finest_scale=14,
        ),
        mask_head=dict(num_convs=2, in_channels=64, conv_out_channels=64, num_classes=10),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=100, max_per_img=50),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=100, max_per_img=30),
        rcnn=dict(max_per_img=10),  # scenes have up to 5 digits
    ),
)
# Few images per step, because so short a run needs many steps. One epoch over part of the scenes
# takes about 75 s of one core.
train_dataloader = dict(batch_size=4, dataset=dict(indices=1000))
val_dataloader = dict(dataset=dict(indices=150))
test_dataloader = val_dataloader
base_lr = 2e-3
base_lr_batch = 16
warmup_iters = 20
train_cfg = dict(max_epochs=1)
optim_wrapper = dict(type='OptimWrapper', paramwise_cfg=dict(layer_decay_rate=0.8))
default_hooks = dict(logger=dict(interval=5))
visualizer = dict(type='DetLocalVisualizer')
protocol = dict(name='maskrcnn-mini', version='1')
