# MAE (He et al. 2022): mmpretrain's algorithm, decoder and head around our encoder.
model = dict(
    type='MAE',
    data_preprocessor=dict(
        type='SelfSupDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(type='mixae.MaskedViT', arch='b', img_size=224, patch_size=16, mask_ratio=0.75),
    neck=dict(
        type='MAEPretrainDecoder',
        num_patches='auto',
        patch_size='auto',
        in_chans=3,
        embed_dim='auto',
        decoder_embed_dim=512,
        decoder_depth=8,
        decoder_num_heads=16,
        mlp_ratio=4.0,
    ),
    head=dict(
        type='MAEPretrainHead',
        norm_pix=True,
        patch_size='auto',
        loss=dict(type='PixelReconstructionLoss', criterion='L2'),
    ),
    init_cfg=[
        dict(type='Xavier', layer='Linear', distribution='uniform'),
        dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
    ],
)
method = 'mae'
# What records and tables show of this model: name and place in the config.
variant = dict(mask_ratio='model.backbone.mask_ratio')
