# The frozen pre-trained encoder, for protocols that read its features.
pretrained = 'required'
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(
        type='mixae.MaskedViT',
        arch='b',
        img_size=224,
        patch_size=16,
        out_type='raw',
        frozen=True,
        pretrained='auto',
    ),
)
