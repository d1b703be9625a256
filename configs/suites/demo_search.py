# The settings of the demo, chosen on the last part of the training split: no test picture is seen.
_base_ = ['demo.py']
title = 'Digit scenes: the settings of the demo, on a validation part of the training split'
_pictures = {
    'train_dataloader.dataset.dataset.indices': 7000,
    'val_dataloader.dataset.dataset.split': 'train',
    'val_dataloader.dataset.dataset.indices': -1000,
}
_scenes = {'val_dataloader.dataset.split': 'train', 'val_dataloader.dataset.indices': -150}


def _row(kind: str, epochs: int) -> dict:
    lengths = {'train_cfg.max_epochs': epochs, 'protocol.name': f'{kind}-validation'}
    return dict(
        tool='train',
        config=f'configs/transfer/digit_scenes/vitmini_{kind}.py',
        only=['mae', 'mixedae', 'scratch'],
        options={**(_pictures if kind == 'finetune' else _scenes), **lengths},
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
)
pictures = dict(_delete_=True)
columns = ['finetune', 'box_ap50', 'mask_ap50', 'miou', 'images_seen']
checks = dict(_delete_=True, topk_isolates=dict())
