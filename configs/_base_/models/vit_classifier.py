# A classifier on the pre-trained encoder: average pooling and a new norm, as in MAE's fine-tuning.
# pretrained: a pre-training checkpoint as it was saved, or 'scratch'; --pretrained sets it.
pretrained = 'required'
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        num_classes='auto',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(
        type='mixae.MaskedViT',
        arch='b',
        img_size=224,
        patch_size=16,
        drop_path_rate=0.1,
        out_type='avg_featmap',
        final_norm=False,
        train_pos_embed=True,
        pretrained='auto',
    ),
    head=dict(
        type='LinearClsHead',
        num_classes='auto',
        in_channels='auto',
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=[dict(type='TruncNormal', layer='Linear', std=2e-5)],
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
