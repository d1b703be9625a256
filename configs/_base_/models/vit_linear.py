# MAE's linear probe: class token of the frozen encoder, BatchNorm without affine, linear layer.
_base_ = ['vit_probe.py']

model = dict(
    data_preprocessor=dict(num_classes=None),
    backbone=dict(out_type='cls_token'),
    neck=dict(type='ClsBatchNormNeck', input_features=None),
    head=dict(
        type='VisionTransformerClsHead',
        num_classes=None,
        in_channels=None,
        loss=dict(type='CrossEntropyLoss'),
        init_cfg=[dict(type='TruncNormal', layer='Linear', std=0.01)],
    ),
)
