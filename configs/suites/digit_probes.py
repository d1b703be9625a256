# One set of weights under every protocol: does the probe change the order of the methods? The
# pre-trainings are those of demo.py; with --work-dir work_dirs/demo its checkpoints are used.
_base_ = ['_base_/demo_pretrainings.py', '_base_/digit_scenes_probes.py']
title = "Digit scenes: the demo's checkpoints under every probe"
seeds = [0, 1, 2]
prepare = ['classification', 'scenes']
evaluate = dict(
    finetune=dict(seconds=155),
    attentive=dict(seconds=120),
    sweep=dict(seconds=120),
    lbfgs=dict(seconds=40),
    knn=dict(seconds=15),
    segmentation_single=dict(
        title='semantic segmentation of pictures of one digit',
        tool='train',
        config='configs/transfer/digit_scenes/vitmini_segmentation_single.py',
        only=['mae', 'mixedae', 'scratch'],
        seconds=75,
    ),
)
_rows = '{mae} {mixedae} {imae} scratch --seed {seed} --records {records}'
_names = ' --names MAE MixedAE i-MAE random'
analyses = dict(
    objects=dict(
        title='object completeness',
        tool='tools/analysis/object_completeness.py',
        of='mae',
        arguments=f'configs/analysis/objects_digit_scenes.py {_rows}'.split(),
        seconds=80,
    ),
    features=dict(
        title='geometry of the features',
        tool='tools/analysis/features.py',
        of='mae',
        arguments=f'configs/transfer/digit_scenes/vitmini_linear.py {_rows}{_names}'.split(),
        seconds=80,
    ),
)
columns = ['linear', 'attentive', 'knn', 'finetune', 'miou', 'images_seen']
checks = dict(pretraining_pays=dict(linear=dict(gain=15, imae=dict(gain=5))), topk_isolates=dict())
