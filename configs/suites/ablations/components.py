# The two parts of homologous recognition: attention alone, contrastive loss alone, both, neither
# (naive mixing), the oracle, which must match MAE, and MAE. The segment embedding is on in all but
# the last row. 400 epochs of CIFAR-10 (ours): to change the budget, change `_budget`.
_base_ = ['../_base_/cifar10_evaluations.py']
title = 'What homologous recognition consists of (CIFAR-10)'
seeds = [0, 1, 2]

_budget = {'train_cfg.max_epochs': 400, 'warmup_epochs': 40}
_mixedae = dict(config='configs/mixedae/vitt_cifar10_2000e.py')
_mode = 'model.attention.mode'
_no_contrast = {'model.contrast': None}
pretrain = dict(
    mae=dict(title='MAE', config='configs/mae/vitt_cifar10_2000e.py', options=_budget),
    neither=dict(
        **_mixedae, title='naive mixing', options={**_budget, _mode: 'global', **_no_contrast}
    ),
    contrast=dict(**_mixedae, title='contrastive loss alone', options={**_budget, _mode: 'global'}),
    attention=dict(
        **_mixedae, title='homologous attention alone', options={**_budget, **_no_contrast}
    ),
    both=dict(**_mixedae, title='both (MixedAE)', options=_budget),
    oracle=dict(
        **_mixedae, title='oracle attention', options={**_budget, _mode: 'masked', **_no_contrast}
    ),
    no_segment_embed=dict(
        **_mixedae,
        title='both, without segment embedding',
        options={**_budget, 'model.segment_embed': False},
    ),
)
