# DINOv2's linear evaluation: SGD, cosine decay, all learning rates at once. The rates in the head
# are factors of base_lr, so that is 1. The best one is chosen on a held-out part of the training
# set; the test set is read once. Configs that use this set hold_out of both loaders.
base_lr = 1.0
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr='auto', weight_decay=0.0, momentum=0.9),
)
param_scheduler = [
    dict(
        type='CosineAnnealingLR', T_max='auto', begin='auto', end='auto', convert_to_iter_based=True
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=10, val_interval='auto')
val_cfg = dict(type='mixae.SweepLoop')
test_cfg = dict(type='mixae.SweepLoop')
val_evaluator = dict(type='mixae.Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
task = 'linear'
protocol = dict(name='linear-sweep', version='1')
