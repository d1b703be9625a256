# mmdet's Cascade Mask R-CNN on the pre-trained encoder, with the heads of iBOT's released config:
# four convolutions and one layer, SyncBN, GIoU loss on decoded boxes.
_base_ = 'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py'

pretrained = 'required'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mixae.MaskedViT',
        arch='b',
        img_size=224,
        patch_size=16,
        out_indices='auto',  # layers 3, 5, 7 and 11 of 12; 7, 11, 15 and 23 of 24
        drop_path_rate=0.2,
        out_type='featmap',
        final_norm=False,
        train_pos_embed=True,
        pretrained='auto',
    ),
    neck=[
        dict(type='mmseg.Feature2Pyramid', embed_dim='auto', norm_cfg=dict(type='SyncBN')),
        dict(type='FPN', in_channels='auto', out_channels=256, num_outs=5),
    ],
    roi_head=dict(
        bbox_head=[
            dict(
                type='ConvFCBBoxHead',
                num_shared_convs=4,
                num_shared_fcs=1,
                in_channels=256,
                conv_out_channels=256,
                fc_out_channels=1024,
                roi_feat_size=7,
                num_classes=80,
                bbox_coder=dict(
                    type='DeltaXYWHBBoxCoder',
                    target_means=[0.0, 0.0, 0.0, 0.0],
                    target_stds=target_stds,
                ),
                reg_class_agnostic=False,
                reg_decoded_bbox=True,
                norm_cfg=dict(type='SyncBN'),
                loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
                loss_bbox=dict(type='GIoULoss', loss_weight=10.0),
            )
            for target_stds in (
                [0.1, 0.1, 0.2, 0.2],
                [0.05, 0.05, 0.1, 0.1],
                [0.033, 0.033, 0.067, 0.067],
            )
        ],
    ),
)
