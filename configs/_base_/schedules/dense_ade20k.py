# UperNet on ADE20K as in BEiT and in mmseg's config for MAE: 160k iterations of 16 images, linear
# decay after a warm-up.
base_lr = 1e-4
base_lr_batch = 16
warmup_iters = 1500
optim_wrapper = dict(
    type='mixae.AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr='auto', betas=(0.9, 0.999), weight_decay=0.05),
    constructor='mixae.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.65,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={
            '.cls_token': dict(decay_mult=0.0),
            '.pos_embed': dict(decay_mult=0.0),
        },
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end='auto'),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin='auto', end='auto'),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=160000, val_interval='auto')
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
task = 'semseg'
