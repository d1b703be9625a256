# ViTDet's Mask R-CNN (Li et al. 2022; detectron2's released config): windows of 14 patches with
# four global layers, the simple feature pyramid, two convolutions in the RPN, four and one layer in
# the box head, layer norm in every head. ViTDet's relative position bias is left out: the encoder's
# parameters stay those of the pre-training (ours).
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

pretrained = 'required'
model = dict(
    # Every image is padded to one size, as ViTDet does.
    data_preprocessor=dict(pad_size_divisor=1024),
    backbone=dict(
        _delete_=True,
        type='mixae.MaskedViT',
        arch='b',
        img_size=224,
        patch_size=16,
        window_size=14,
        global_layers='auto',  # 2, 5, 8 and 11 of 12; 5, 11, 17 and 23 of 24
        drop_path_rate=0.1,
        out_type='featmap',
        final_norm=False,
        train_pos_embed=True,
        pretrained='auto',
    ),
    neck=dict(
        _delete_=True,
        type='mixae.SimpleFeaturePyramid',
        in_channels='auto',
        out_channels=256,
        num_outs=5,
    ),
    rpn_head=dict(num_convs=2),
    roi_head=dict(
        bbox_head=dict(
            type='Shared4Conv1FCBBoxHead', norm_cfg=dict(type='mmpretrain.LN2d', eps=1e-6)
        ),
        mask_head=dict(norm_cfg=dict(type='mmpretrain.LN2d', eps=1e-6)),
    ),
)
