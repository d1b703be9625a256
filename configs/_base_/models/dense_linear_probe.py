# The frozen encoder's linear segmentation probe: one 1x1 convolution on four layers, each behind
# the encoder's last norm, concatenated, as iBOT's. None follows from the encoder.
pretrained = None
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=None,
    ),
    backbone=dict(
        type='mixae.MaskedViT',
        arch='b',
        img_size=512,
        patch_size=16,
        out_indices=None,  # layers 3, 5, 7 and 11 of 12
        out_type='featmap',
        norm_outputs=True,
        frozen=True,
        pretrained=None,
    ),
    decode_head=dict(
        type='FCNHead',
        in_channels=None,
        in_index=[0, 1, 2, 3],
        input_transform='resize_concat',
        channels=None,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0,
        num_classes=None,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=None, stride=None),
)
