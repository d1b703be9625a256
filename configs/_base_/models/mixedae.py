# MixedAE (Chen et al. 2023): MAE with complementary masks in a group and homologous attention.
_base_ = ['mae.py']

model = dict(
    type='mixae.MixedAE',
    backbone=dict(mask_ratio=None),  # 1 - mix_ratio of each image is masked
    mix_ratio=0.25,
    attention=dict(
        mode='topk',
        topk='auto',  # K: the tokens of one image
        subtract_segment=False,  # True: TopK selects by tokens less the segment embedding
    ),
    segment_embed=True,  # 'decoder': there alone; False: nowhere
    contrast=dict(
        type='mixae.HomologousContrastiveLoss',
        in_dim='auto',
        proj_dim=128,
        temperature=0.25,
        weight=0.1,
        layer=None,  # the last; 0 is the first
        subtract_segment=False,  # True: compare tokens less the segment embedding
    ),
)
method = 'mixedae'
# What records and tables show of this model: name and place in the config.
variant = dict(
    _delete_=True,  # its mask ratio is 1 - mix_ratio
    mode='model.attention.mode',
    mix_ratio='model.mix_ratio',
    topk='model.attention.topk',
    contrast='model.contrast.weight',
    temperature='model.contrast.temperature',
    contrast_layer='model.contrast.layer',
    contrast_subtract_segment='model.contrast.subtract_segment',
    segment_embed='model.segment_embed',
    topk_subtract_segment='model.attention.subtract_segment',
)
