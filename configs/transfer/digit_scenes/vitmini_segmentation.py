# Segmentation into ten digits and ten backgrounds, with a head small enough for minutes on a CPU.
# All settings are ours. --pretrained scratch gives the row without pre-training.
_base_ = [
    '../../_base_/datasets/digit_scenes_seg.py',
    '../../_base_/schedules/dense_coco.py',
    '../../_base_/runtime.py',
]
default_scope = 'mmseg'
pretrained = 'required'
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(128, 128),
    ),
    # ViT-Mini of ../../mae/vitmini_digits_12e.py; at 128 pixels it sees four times the patches.
    backbone=dict(
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
        type='mixae.SimpleFeaturePyramid',
        in_channels='auto',
        out_channels=64,
        scales=(2,),
        num_outs=1,
    ),
    decode_head=dict(
        type='FCNHead',
        in_channels=64,
        in_index=0,
        channels=64,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes='auto',
        # Four images per step are too few for BatchNorm, whose running statistics follow the
        # backgrounds: GroupNorm gave 1 to 2 points more mIoU on validation scenes.
        norm_cfg=dict(type='GN', num_groups=8),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
# Few images per step, because so short a run needs many steps. One epoch over part of the scenes,
# with the learning rate falling to zero, takes about 45 s of one core.
train_dataloader = dict(batch_size=4, dataset=dict(indices=1000))
val_dataloader = dict(dataset=dict(indices=150))
test_dataloader = val_dataloader
base_lr = 1e-2
base_lr_batch = 16
warmup_iters = 20
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end='auto'),
    dict(type='PolyLR', power=1.0, convert_to_iter_based=True, begin=0, end='auto'),
]
train_cfg = dict(max_epochs=1)
optim_wrapper = dict(type='OptimWrapper', paramwise_cfg=dict(layer_decay_rate=0.8))
default_hooks = dict(logger=dict(interval=5))
visualizer = dict(type='SegLocalVisualizer')
task = 'semseg'
protocol = dict(name='segmentation-mini', version='2')
