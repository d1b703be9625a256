# The recipe of MAE (He et al. 2022, Table 8).
base_lr = 1.5e-4  # per 256 images of the effective batch
warmup_epochs = 40
optim_wrapper = dict(
    type='mixae.AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr='auto', betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(
        # No decay for norms, biases, tokens and embeddings.
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={
            'pos_embed': dict(decay_mult=0.0),
            'mask_token': dict(decay_mult=0.0),
            'cls_token': dict(decay_mult=0.0),
            'segment_embed': dict(decay_mult=0.0),
        },
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, begin=0, end='auto', convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', T_max='auto', begin='auto', end='auto', convert_to_iter_based=True
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300)
