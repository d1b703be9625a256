# One run of each kind, made small: it shows in minutes that everything works. Its numbers mean
# nothing.
_base_ = ['demo.py']
title = 'Digit scenes: a smoke test (the numbers mean nothing)'
_small = {
    'train_cfg.max_epochs': 1,
    'train_dataloader.dataset.subset': 200,
    'val_dataloader.dataset.subset': 100,
}
_features = {'train_features.dataset.subset': 400, 'test_dataloader.dataset.subset': 200}
pretrain = dict(
    _delete_=True,
    mixedae=dict(
        title='MixedAE',
        config='configs/mixedae/vitmini_digits_12e.py',
        options={
            'train_cfg.max_epochs': 1,
            'train_dataloader.dataset.subset': 1024,
            'default_hooks.logger.interval': 4,
            'default_hooks.topk_accuracy.interval': 4,
        },
        seconds=20,
    ),
)
evaluate = dict(
    finetune=dict(options=_small, seconds=15),
    linear=dict(options=_features, seconds=12),
    knn=dict(options=_features, seconds=12),
    detection=dict(options=_small, seconds=40),
    segmentation=dict(options=_small, seconds=20),
)
pictures = dict(
    _delete_=True,
    mixedae_reconstructions=dict(
        title='mixed input, unmixed reconstructions and originals of MixedAE',
        tool='tools/analysis/reconstructions.py',
        of='mixedae',
        arguments=['configs/mixedae/vitmini_digits_12e.py', '{pretrain}', '--split', 'test']
        + ['--num-images', '8', '--out', '{out}'],
        seconds=8,
    ),
    mixedae_topk_accuracy=dict(
        title='TopK sampling accuracy of MixedAE beside chance',
        tool='tools/analysis/topk_curve.py',
        of='mixedae',
        arguments=['{folder}', '--out', '{out}'],
        seconds=8,
    ),
)
checks = ['topk_isolates']
