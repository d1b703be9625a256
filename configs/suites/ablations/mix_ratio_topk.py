# Mixing ratio x TopK size, in tokens of one image (the default is K = n, all of them): 64 patches
# of CIFAR-10, so n = 64 r + 1.
_base_ = ['components.py']
title = 'Mixing ratio and TopK size (CIFAR-10)'

_grid = [
    (_groups, _share) for _groups in (2, 4, 8) for _share in (0.5, 1.0, 2.0) if _share < _groups
]
pretrain = {
    '_delete_': True,
    'mae': dict(
        title='MAE',
        config='configs/mae/vitt_cifar10_2000e.py',
        options={'train_cfg.max_epochs': 400, 'warmup_epochs': 40},
    ),
    **{
        f'mix_1_{_groups}_topk_{_share:g}n'.replace('.', '_'): dict(
            title=f'r = 1/{_groups}, K = {_share:g} n',
            config='configs/mixedae/vitt_cifar10_2000e.py',
            options={
                'train_cfg.max_epochs': 400,
                'warmup_epochs': 40,
                'model.mix_ratio': 1 / _groups,
                'model.attention.topk': round(_share * (64 // _groups + 1)),
            },
        )
        for _groups, _share in _grid
    },
}
