# One run of each kind, made small: it shows in minutes that everything works. Its numbers mean
# nothing.
_base_ = ['demo.py']
title = 'Digit scenes: a smoke test (the numbers mean nothing)'
_small = {
    'train_cfg.max_epochs': 1,
    'train_dataloader.dataset.subset': 200,
    'val_dataloader.dataset.subset': 100,
}
_scenes = {
    'train_cfg.max_epochs': 1,
    'train_dataloader.dataset.indices': 64,
    'val_dataloader.dataset.indices': 32,
    'warmup_iters': 2,
}
_features = {'train_features.dataset.subset': 400, 'test_dataloader.dataset.subset': 200}
pretrain = dict(
    mae=None,
    mixedae=dict(
        options={
            'train_cfg.max_epochs': 1,
            'train_dataloader.dataset.subset': 1024,
            'default_hooks.logger.interval': 4,
            'default_hooks.topk_accuracy.interval': 4,
        },
        seconds=20,
    ),
    imae=None,
)
evaluate = dict(
    finetune=dict(options=_small, only=['mixedae', 'scratch'], seconds=15),
    linear=dict(options=_features, seconds=12),
    detection=dict(options=_scenes, only=['mixedae', 'scratch'], seconds=40),
    segmentation=dict(options=_scenes, only=['mixedae', 'scratch'], seconds=20),
)
pictures = dict(
    mae_reconstructions=None,
    imae_factors=None,
    imae_comparison=None,
    imae_mask_ratios=None,
    imae_weights=None,
)
checks = dict(_delete_=True, topk_isolates=dict())
