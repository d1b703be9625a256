# What more pre-training is worth: MAE and MixedAE on digit scenes, the probe after every quarter of
# the demo's 192,000 views, and whole schedules of a quarter and of half of them beside it: what
# the decay of the learning rate is worth. The demo has the seeds 0 to 2 of the long schedules.
_base_ = ['_base_/digit_scenes_evaluations.py']
title = 'Digit scenes: results over the length of pre-training'
seeds = [3, 4]
prepare = ['classification']

_keep = {'default_hooks.checkpoint.interval': 6, 'default_hooks.checkpoint.max_keep_ckpts': -1}


def _schedules(method: str, title: str, seconds: int) -> dict:
    config = f'configs/{method}/vitmini_digits_24e.py'
    return {
        method: dict(title=title, config=config, options=_keep, seconds=seconds),
        **{
            f'{method}_{epochs}e': dict(
                title=f'{title}, {epochs} epochs',
                config=config,
                options={'train_cfg.max_epochs': epochs},
                seconds=seconds * epochs // 24,
            )
            for epochs in (12, 6)
        },
    }


pretrain = {**_schedules('mae', 'MAE', 400), **_schedules('mixedae', 'MixedAE', 440)}
_short = ['mae_12e', 'mae_6e', 'mixedae_12e', 'mixedae_6e']
evaluate = dict(
    finetune=dict(only=[*pretrain, 'scratch'], seconds=155),
    linear=dict(also_at=[0.25, 0.5, 0.75], only=['mae', 'mixedae', 'scratch']),
    linear_short=dict(
        title='linear probe',
        tool='test',
        config='configs/transfer/digit_scenes/vitmini_linear.py',
        only=_short,
        seconds=27,
    ),
)
columns = ['linear', 'finetune', 'images_seen', 'flops']
curves = ['linear', 'finetune']
checks = dict(pretraining_pays=dict(finetune=dict(gain=40), linear=dict(gain=5)))
