# Linear segmentation probe of a frozen encoder, as in iBOT: one 1x1 convolution on four layers,
# each after the encoder's final norm, concatenated. 'auto' follows from the encoder.
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
        size='auto',
    ),
    backbone=dict(
        type='mixae.MaskedViT',
        arch='b',
        img_size=512,
        patch_size=16,
        out_indices='auto',  # layers 3, 5, 7 and 11 of 12
        out_type='featmap',
        norm_outputs=True,
        frozen=True,
        pretrained='auto',
    ),
    decode_head=dict(
        type='FCNHead',
        in_channels='auto',
        in_index=[0, 1, 2, 3],
        input_transform='resize_concat',
        channels='auto',
        num_convs=0,
        concat_input=False,
        dropout_ratio=0,
        num_classes='auto',
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size='auto', stride='auto'),
)
