# The demo: MAE, MixedAE and i-MAE on digit scenes, from pre-training to a table, on a CPU.
_base_ = ['_base_/demo_pretrainings.py', '_base_/digit_scenes_evaluations.py']
title = 'Digit scenes: the demo'
seeds = [0]
on_change = 'redo'  # a run takes minutes
prepare = ['classification', 'scenes']

evaluate = dict(
    finetune=dict(only=['mae', 'mixedae', 'scratch'], seconds=155),
    detection=dict(
        title='boxes and masks',
        tool='train',
        config='configs/transfer/digit_scenes/vitmini_detection.py',
        options={'train_cfg.max_epochs': 2},
        only=['mae', 'mixedae', 'scratch'],
        seconds=150,
    ),
    segmentation=dict(
        title='semantic segmentation',
        tool='train',
        config='configs/transfer/digit_scenes/vitmini_segmentation.py',
        options={'train_cfg.max_epochs': 2},
        only=['mae', 'mixedae', 'scratch'],
        seconds=95,
    ),
)
_reconstruct = '{pretrain} --split test --num-images 8 --out {out}'
_imae = 'configs/imae/vitmini_digits_6e.py {pretrain} --out {out} '
_imae += '--data configs/transfer/digit_scenes/vitmini_linear.py'
pictures = dict(
    mae_reconstructions=dict(
        title='reconstructions of MAE',
        tool='tools/analysis/reconstructions.py',
        of='mae',
        arguments=f'configs/mae/vitmini_digits_24e.py {_reconstruct}'.split(),
        seconds=8,
    ),
    mixedae_reconstructions=dict(
        title='mixed input, unmixed reconstructions and originals of MixedAE',
        tool='tools/analysis/reconstructions.py',
        of='mixedae',
        arguments=f'configs/mixedae/vitmini_digits_24e.py {_reconstruct}'.split(),
        seconds=8,
    ),
    mixedae_topk_accuracy=dict(
        title='TopK sampling accuracy of MixedAE beside chance',
        tool='tools/analysis/topk_curve.py',
        of='mixedae',
        arguments='{folder} --out {out}'.split(),
        seconds=8,
    ),
    imae_factors=dict(
        title="i-MAE over the subordinate image's share",
        tool='tools/analysis/imae_pictures.py',
        of='imae',
        arguments=f'factors {_imae}'.split(),
        seconds=8,
    ),
    imae_comparison=dict(
        title='the subordinate image by MAE and by i-MAE',
        tool='tools/analysis/imae_pictures.py',
        of='imae',
        arguments=f'comparison {_imae} --teacher {{mae}}'.split(),
        seconds=8,
    ),
    imae_mask_ratios=dict(
        title='i-MAE over mask ratios',
        tool='tools/analysis/imae_pictures.py',
        of='imae',
        arguments=f'mask-ratios {_imae}'.split(),
        seconds=8,
    ),
    imae_weights=dict(
        title='weights and attention of MAE and of i-MAE',
        tool='tools/analysis/imae_pictures.py',
        of='imae',
        arguments=f'weights {_imae} --teacher {{mae}}'.split(),
        seconds=8,
    ),
)
columns = [
    'finetune',
    'linear',
    'box_ap50',
    'mask_ap50',
    'miou',
    'time',
    'images_seen',
]
# What a row must be above the one without pre-training, in points, and what it must reach.
checks = dict(
    pretraining_pays=dict(
        finetune=dict(gain=40, least=60),
        linear=dict(gain=15, imae=dict(gain=5)),
        box_ap50=dict(gain=5),
        miou=dict(gain=2),
    ),
    topk_isolates=dict(),
)
