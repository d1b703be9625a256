# i-MAE's ablations on CIFAR-10 (Sec. 4.4, Table 5): without distillation, the subordinate image
# alone, constant shares of the subordinate image, mask ratios. As many images as in 400 epochs
# (ours). To change the budget, change `_budget` and `_pairs`. Same-class pairs are in
# ../cifar10.py.
_base_ = ['../_base_/cifar10_evaluations.py']
title = 'What i-MAE consists of (CIFAR-10)'
seeds = [0, 1, 2]

_budget = {'train_cfg.max_epochs': 400, 'warmup_epochs': 40}
_pairs = {'train_cfg.max_epochs': 200, 'warmup_epochs': 20}  # an epoch sees each image twice
_imae = dict(config='configs/imae/vitt_cifar10_2000e.py')
pretrain = dict(
    mae=dict(title='MAE', config='configs/mae/vitt_cifar10_2000e.py', options=_budget),
    imae=dict(**_imae, title='i-MAE', teacher='mae', options=_pairs),
    no_distillation=dict(
        **_imae, title='i-MAE without distillation', options={**_pairs, 'model.distill': None}
    ),
    subordinate_alone=dict(
        **_imae,
        title='i-MAE-Sub',
        teacher='mae',
        options={**_pairs, 'model.branches': 'subordinate'},
    ),
)
for _share in (0.1, 0.2, 0.3, 0.4, 0.45):
    pretrain[f'share_{_share}'] = dict(
        **_imae,
        title=f'i-MAE, constant share {_share}',
        teacher='mae',
        options={**_pairs, 'model.mix.beta': None, 'model.mix.subordinate': _share},
    )
for _ratio in (0.5, 0.6):
    pretrain[f'mask_{_ratio}'] = dict(
        **_imae,
        title=f'i-MAE, mask ratio {_ratio}',
        teacher='mae',
        options={**_pairs, 'model.backbone.mask_ratio': _ratio},
    )
published = 'matching'
