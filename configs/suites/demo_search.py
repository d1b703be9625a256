# The settings of the demo, chosen on the last part of the training split: no test picture is seen.
_base_ = ['demo.py']
title = 'Digit scenes: the settings of the demo, on a validation part of the training split'
_pictures = {
    'train_dataloader.dataset.dataset.indices': 7000,
    'val_dataloader.dataset.dataset.split': 'train',
    'val_dataloader.dataset.dataset.indices': -1000,
}
_scenes = {'val_dataloader.dataset.split': 'train', 'val_dataloader.dataset.indices': -150}


def _row(kind: str, name: str, options: dict) -> dict:
    kinds = dict(finetune=_pictures, detection=_scenes, segmentation=_scenes)
    return dict(
        tool='train',
        config=f'configs/transfer/digit_scenes/vitmini_{kind}.py',
        only=['mae', 'mixedae', 'scratch'],
        options={**kinds[kind], **options, 'protocol.name': name},
    )


pretrain = dict(imae=None)
evaluate = dict(
    _delete_=True,
    **{
        f'{kind}_{epochs}e': _row(kind, f'{kind}-{epochs}e', {'train_cfg.max_epochs': epochs})
        for kind, lengths in (('finetune', (3, 5)), ('detection', (1, 2)), ('segmentation', (1, 2)))
        for epochs in lengths
    },
)
pictures = {
    'train_dataloader.dataset.dataset.indices': 7000,
    'val_dataloader.dataset.dataset.split': 'train',
    'val_dataloader.dataset.dataset.indices': -1000,
}
_scenes = {'val_dataloader.dataset.split': 'train', 'val_dataloader.dataset.indices': -150}


def _row(kind: str, name: str, options: dict) -> dict:
    kinds = dict(finetune=_pictures, detection=_scenes, segmentation=_scenes)
    return dict(
        tool='train',
        config=f'configs/transfer/digit_scenes/vitmini_{kind}.py',
        only=['mae', 'mixedae', 'scratch'],
        options={**kinds[kind], **options, 'protocol.name': name},
    )


pretrain = dict(imae=None)
evaluate = dict(
    _delete_=True,
    **{
        f'finetune_{epochs}e': _row(
            'finetune', f'finetune-{epochs}', {'train_cfg.max_epochs': epochs}
        )
        for epochs in (3, 5)
    },
    **{
        f'{kind}_{epochs}e_decay{decay}': _row(
            kind,
            f'{kind}-{epochs}-decay{decay}',
            {'train_cfg.max_epochs': epochs, _decay: decay},
        )
        for kind, epochs in (('detection', 1), ('segmentation', 1), ('segmentation', 2))
        for decay in (0.8, 0.6)
    },
)
pictures = dict(_delete_=True)
columns = ['finetune', 'box_ap50', 'mask_ap50', 'miou', 'images_seen']
checks = dict(_delete_=True, topk_isolates=dict())
