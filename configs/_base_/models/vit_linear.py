# MAE's linear probe: class token of the frozen encoder, BatchNorm without affine, linear layer.
_base_ = ['vit_probe.py']

model = dict(
    data_preprocessor=dict(num_classes='auto'),
    backbone=dict(out_type='cls_token'),
    neck=dict(type='ClsBatchNormNeck', input_features='auto'),
    head=dict(
        type='VisionTransformerClsHead',
        num_classes='auto',
        in_channels='auto',
        loss=dict(type='CrossEntropyLoss'),
        init_cfg=[dict(type='TruncNormal', layer='Linear', std=0.01)],
    ),
)
