# The demo's suite as small as it can be: two pre-trainings, and two evaluations of each.
_base_ = ['../../configs/suites/demo.py']
title = 'A suite to be killed'
_rows = ['mae', 'mixedae']
_small = {'train_dataloader.dataset.subset': 256}
_pretrain = {**_small, 'train_cfg.max_epochs': 8}
_finetune = {**_small, 'train_cfg.max_epochs': 4, 'val_dataloader.dataset.subset': 100}
_linear = {'train_features.dataset.subset': 200, 'test_dataloader.dataset.subset': 100}
prepare = ['classification']
pretrain = dict(
    mae=dict(options=_pretrain),
    mixedae=dict(options={**_pretrain, 'default_hooks.topk_accuracy.interval': 4}),
    imae=None,
)
evaluate = dict(
    finetune=dict(options=_finetune, only=_rows),
    linear=dict(options=_linear, only=_rows),
    knn=None,
    detection=None,
    segmentation=None,
)
pictures = dict(_delete_=True)
columns = ['finetune', 'linear', 'images_seen']  # no time: of a run that was killed it is another
checks = dict(_delete_=True)
