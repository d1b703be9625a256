# Detection on COCO: warm-up in iterations, steps at shares of the epochs, layer-wise decay.
# float16 with loss scaling on a GPU (RoIAlign has no bfloat16), fp32 without one.
warmup_iters = 500
lr_steps = (8 / 12, 11 / 12)  # shares of max_epochs; iBOT's command, mmdet's 1x
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr='auto', betas=(0.9, 0.999), weight_decay=0.05),
    constructor='mixae.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.75,
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
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end='auto'),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end='auto', milestones='auto', gamma=0.1),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval='auto')
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
task = 'detection'
