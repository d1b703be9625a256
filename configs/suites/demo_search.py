# The settings of the demo and of the attentive probe, chosen on the last part of the training
# split: no test picture is seen.
_base_ = ['demo.py']
title = 'Digit scenes: the settings of the demo, on a validation part of the training split'
_pictures = {
    'train_dataloader.dataset.dataset.indices': 7000,
    'val_dataloader.dataset.dataset.split': 'train',
    'val_dataloader.dataset.dataset.indices': -1000,
}
_scenes = {'val_dataloader.dataset.split': 'train', 'val_dataloader.dataset.indices': -150}


def _row(kind: str, epochs: int, **options) -> dict:
    told = '-'.join(['validation', *(f'{key}-{value}' for key, value in options.items())])
    options |= {'train_cfg.max_epochs': epochs, 'protocol.name': f'{kind}-{told}'}
    return dict(
        tool='train',
        config=f'configs/transfer/digit_scenes/vitmini_{kind}.py',
        only=['mae'] if kind == 'attentive' else ['mae', 'mixedae', 'scratch'],
        options={**(_pictures if kind in ('finetune', 'attentive') else _scenes), **options},
    )


pretrain = dict(imae=None)
evaluate = dict(
    _delete_=True,
    finetune_3e=_row('finetune', 3),
    finetune_5e=_row('finetune', 5),
    detection_1e=_row('detection', 1),
    detection_2e=_row('detection', 2),
    segmentation_1e=_row('segmentation', 1),
    segmentation_2e=_row('segmentation', 2),
    **{
        f'attentive_{rate}': _row('attentive', 20, base_lr=rate)
        for rate in (0.1, 0.4, 1.6, 3.2, 6.4)
    },
)
pictures = dict(_delete_=True)
columns = ['finetune', 'box_ap50', 'mask_ap50', 'miou', 'attentive', 'images_seen']
checks = dict(_delete_=True, topk_isolates=dict())
