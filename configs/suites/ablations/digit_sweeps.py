# MixedAE's settings one at a time on digit scenes: mixing ratio (64 patches: G = 2, 4, 8, 16), TopK
# size (the tokens of one image are 17), weight and temperature of the contrastive loss.
# tools/analysis/sweep_curve.py draws each.
_base_ = ['../_base_/digit_scenes_evaluations.py']
title = "Sweeps of MixedAE's settings (digit scenes)"
seeds = [0, 1, 2]
prepare = ['classification']

_config = 'configs/mixedae/vitmini_digits_24e.py'
_sweeps = dict(
    mix_ratio=('model.mix_ratio', [0.5, 0.125, 0.0625]),
    topk=('model.attention.topk', [5, 9, 13, 25, 34]),
    weight=('model.contrast.weight', [0.01, 0.03, 0.3, 1.0]),
    temperature=('model.contrast.temperature', [0.07, 0.1, 0.5, 1.0]),
)
pretrain = dict(
    mae=dict(title='MAE', config='configs/mae/vitmini_digits_24e.py', seconds=400),
    mixedae=dict(title='MixedAE', config=_config, seconds=440),
    **{
        f'{_name}_{_value}': dict(
            title=f'{_name} {_value}', config=_config, options={_key: _value}, seconds=440
        )
        for _name, (_key, _values) in _sweeps.items()
        for _value in _values
    },
)
evaluate = dict(finetune=dict(options={'train_cfg.max_epochs': 6}, seconds=180))
columns = ['linear', 'finetune', 'topk_accuracy', 'contrastive_loss', 'contrastive_floor', 'time']
checks = dict(topk_isolates=dict())
