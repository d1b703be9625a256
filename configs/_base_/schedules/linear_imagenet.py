# Linear probing as MAE (He et al. 2022, Table 10): LARS, batch 16,384, crops and flips only.
base_lr = 0.1  # per 256 images of the effective batch
warmup_epochs = 10
optim_wrapper = dict(
    type='mixae.AmpOptimWrapper',
    optimizer=dict(type='LARS', lr='auto', weight_decay=0.0, momentum=0.9),
    # MAE's LARS scales the rate of weights alone.
    paramwise_cfg=dict(custom_keys={'bias': dict(lars_exclude=True)}),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, begin=0, end='auto', convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', T_max='auto', begin='auto', end='auto', convert_to_iter_based=True
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=90, val_interval='auto')
val_cfg = dict()
test_cfg = dict()
val_evaluator = dict(type='mixae.Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
task = 'linear'
protocol = dict(name='linear-mae', version='2')  # 1: LARS scaled the rate of the bias too
