# UperNet on the pre-trained encoder, as in MAE's transfer to ADE20K (He et al. 2022, App. A.4, with
# BEiT's code; mmseg's mae-base_upernet config). Their relative position bias and layer scale are
# left out: the encoder's parameters stay those of the pre-training (ours). 'auto' follows from the
# encoder.
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
        out_indices='auto',  # layers 3, 5, 7 and 11 of 12; 7, 11, 15 and 23 of 24
        drop_path_rate=0.1,
        out_type='featmap',
        final_norm=False,
        train_pos_embed=True,
        pretrained='auto',
    ),
    neck=dict(type='Feature2Pyramid', embed_dim='auto', norm_cfg=dict(type='SyncBN')),
    decode_head=dict(
        type='UPerHead',
        in_channels='auto',
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels='auto',
        dropout_ratio=0.1,
        num_classes='auto',
        norm_cfg=dict(type='SyncBN'),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels='auto',
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes='auto',
        norm_cfg=dict(type='SyncBN'),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size='auto', stride='auto'),
)
