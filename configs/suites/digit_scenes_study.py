# Which part of mixing pays? On digit scenes, with 640,000 views per row: MAE, MixedAE with and
# without each part of homologous recognition, and i-MAE with and without distillation. It takes
# hours on two cores and continues after an interruption.
_base_ = ['_base_/digit_scenes_few_labels.py']
title = 'Digit scenes: the parts of mixing'
seeds = [0, 1, 2, 3, 4]
prepare = ['classification']
_three = [0, 1, 2]  # MAE and MixedAE, whose order is the question, have two more
_keep = {
    'default_hooks.checkpoint.interval': 5,
    'default_hooks.checkpoint.max_keep_ckpts': -1,
    'warmup_epochs': 2,
}
_long = {'train_cfg.max_epochs': 80, **_keep}
# A whole schedule of 20 epochs, beside the others after a quarter of theirs: what decay is worth.
_short = {'train_cfg.max_epochs': 20}
_mixedae = 'configs/mixedae/vitmini_digits_24e.py'


def _part(title: str, **options) -> dict:
    return dict(
        title=title,
        config=_mixedae,
        seeds=_three,
        options={**_long, **{f'model.{key}': value for key, value in options.items()}},
        seconds=1300,
    )


def _imae(title: str, options: dict | None = None, **more) -> dict:
    # An epoch of pairs sees each image twice.
    recipe = {'train_cfg.max_epochs': 40, 'train_dataloader.batch_size': 32, 'base_lr': 8e-3}
    recipe |= _keep
    return dict(
        title=title,
        config='configs/imae/vitmini_digits_6e.py',
        seeds=_three,
        options={**recipe, **(options or {})},
        **more,
    )


# `seconds`: of one core, reckoned from the demo's shorter runs.
pretrain = dict(
    mae=dict(title='MAE', config='configs/mae/vitmini_digits_24e.py', options=_long, seconds=1250),
    mixedae=dict(title='MixedAE', config=_mixedae, options=_long, seconds=1350),
    naive=_part('naive mixing', **{'attention.mode': 'global', 'contrast': None}),
    oracle=_part(
        'MixedAE, attention within images', **{'attention.mode': 'masked', 'contrast': None}
    ),
    topk=_part('TopK attention without the contrastive loss', contrast=None),
    contrast=_part('the contrastive loss without TopK attention', **{'attention.mode': 'global'}),
    imae=_imae('i-MAE', teacher='mae', seconds=1200),
    imae_alone=_imae(
        'i-MAE without distillation',
        {'model.distill': None, 'model.teacher': None},
        seconds=1100,
    ),
    mae_short=dict(
        title='MAE, 20 epochs',
        config='configs/mae/vitmini_digits_24e.py',
        seeds=_three,
        options=_short,
        seconds=330,
    ),
    mixedae_short=dict(
        title='MixedAE, 20 epochs', config=_mixedae, seeds=_three, options=_short, seconds=350
    ),
)
_rows = ['mae', 'mixedae', 'naive', 'oracle', 'topk', 'contrast', 'imae', 'imae_alone', 'scratch']
_transfer = 'configs/transfer/digit_scenes/'
evaluate = dict(
    linear=dict(also_at=[0.125, 0.25, 0.5, 0.75], only=_rows, seconds=30),
    linear_short=dict(
        title='linear probe',
        tool='test',
        config=f'{_transfer}vitmini_linear.py',
        only=['mae_short', 'mixedae_short'],
        seconds=30,
    ),
    finetune=dict(
        title='fine-tuning on all images',
        scratch_title='fine-tuning on all images from scratch',
        options={'train_cfg.max_epochs': 12},
        seconds=350,
    ),
    finetune_10percent=dict(only=_rows),
    detection=dict(
        title='boxes and masks',
        tool='train',
        config=f'{_transfer}vitmini_detection_long.py',
        only=_rows,
        options={'train_cfg.max_epochs': 4},
        seconds=330,
    ),
    segmentation=dict(
        title='semantic segmentation',
        tool='train',
        config=f'{_transfer}vitmini_segmentation_long.py',
        only=_rows,
        options={'train_cfg.max_epochs': 6},
        seconds=290,
    ),
)
columns = ['finetune', 'linear', 'box_ap50', 'mask_ap50', 'miou', 'images_seen']
curves = ['linear']
checks = dict(
    pretraining_pays=dict(
        finetune=dict(gain=40),
        linear=dict(gain=15),
        box_ap50=dict(gain=5),
        miou=dict(gain=2),
    ),
    topk_isolates=dict(),
)
