# Efficient probing on small sets (ours: SGD, not LARS, at the batches of small data).
base_lr = 0.1
warmup_epochs = 10
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr='auto', weight_decay=0.0, momentum=0.9),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-4,
        begin=0,
        end='auto',
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR', T_max='auto', begin='auto', end='auto', convert_to_iter_based=True
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=90, val_interval='auto')
val_cfg = dict()
test_cfg = dict()
val_evaluator = dict(type='mixae.Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
task = 'attentive'
protocol = dict(name='efficient-probing', version='1')
