# Linear probe on fixed features: no augmentation, BatchNorm without affine, no weight decay.
# tools/test.py CONFIG CHECKPOINT.
test_cfg = dict(
    type='mixae.FeatureProbeLoop',
    probe=dict(type='mixae.LinearProbe', epochs=90, warmup_epochs=10, base_lr=0.1),
    pool='avg',
)
test_evaluator = dict(type='mixae.Accuracy', topk=(1, 5))
task = 'linear'
protocol = dict(name='linear-fixed-features', version='1')
