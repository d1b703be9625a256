# Fine-tuning as MAE (He et al. 2022, Table 9): layer-wise decay, Mixup and CutMix.
base_lr = 5e-4  # per 256 images of the effective batch
warmup_epochs = 5
optim_wrapper = dict(
    type='mixae.AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr='auto', betas=(0.9, 0.999), weight_decay=0.05),
    constructor='LearningRateDecayOptimWrapperConstructor',
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
    dict(type='LinearLR', start_factor=1e-4, begin=0, end='auto', convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max='auto',
        begin='auto',
        end='auto',
        eta_min=1e-6,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100, val_interval='auto')
val_cfg = dict()
test_cfg = dict()
val_evaluator = dict(type='mixae.Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
task = 'finetune'
