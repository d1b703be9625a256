# i-MAE's mixing factor and mask ratio one at a time on digit scenes, and the recipe of the demo.
# tools/analysis/sweep_curve.py draws each (--setting mix, --setting mask_ratio).
_base_ = ['../_base_/digit_scenes_evaluations.py']
title = "Sweeps of i-MAE's settings (digit scenes)"
seeds = [0, 1, 2]
prepare = ['classification']

_imae = dict(config='configs/imae/vitmini_digits_6e.py', teacher='mae', seconds=210)
_data = '--data configs/transfer/digit_scenes/vitmini_linear.py'
_shares, _ratios = (0.1, 0.15, 0.2, 0.3, 0.4, 0.45, 0.5), (0.5, 0.6, 0.85)
_rows = {
    **{
        f'share_{_share}': {'model.mix.beta': None, 'model.mix.subordinate': _share}
        for _share in _shares
    },
    **{f'mask_{_ratio}': {'model.backbone.mask_ratio': _ratio} for _ratio in _ratios},
}
pretrain = dict(
    mae=dict(title='MAE', config='configs/mae/vitmini_digits_24e.py', seconds=400),
    imae=dict(**_imae, title='i-MAE'),
    **{
        _name: dict(**_imae, title=f'i-MAE, {_name.replace("_", " ")}', options=_options)
        for _name, _options in _rows.items()
    },
)
evaluate = dict(finetune=dict(options={'train_cfg.max_epochs': 6}, seconds=180))
analyses = {
    f'separability_{_name}': dict(
        title='linear separability',
        tool='tools/analysis/separability.py',
        of=_name,
        arguments=[
            'configs/imae/vitmini_digits_6e.py',
            '{pretrain}',
            '--teacher',
            '{mae}',
            *_data.split(),
            '--seed',
            '{seed}',
            '--records',
            '{records}',
        ],
        seconds=60,
    )
    for _name in ('imae', *_rows)
}
columns = ['linear', 'finetune', 'nrmse_after', 'r2_after', 'cosine_after', 'time']
