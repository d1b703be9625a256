# mmdet's Mask R-CNN on the pre-trained encoder, with the pyramid that BEiT, iBOT and MAE
# comparisons use: four layers, rescaled by transposed convolutions and pooling, then FPN.
# pretrained: a pre-training checkpoint as it was saved; --pretrained sets it.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

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
)
