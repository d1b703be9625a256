# Beside the usual evaluations, fine-tuning on 1 % of the labels: 8 images per class.
_base_ = ['digit_scenes_evaluations.py']
evaluate = dict(
    finetune_1percent=dict(
        title='fine-tuning on 1 % of the images',
        tool='train',
        config='configs/transfer/digit_scenes/vitmini_finetune.py',
        scratch='configs/transfer/digit_scenes/vitmini_scratch.py',
        scratch_title='training from scratch on 1 % of the images',
        options={
            'train_dataloader.dataset.subset': 80,
            'train_dataloader.batch_size': 16,
            'train_cfg.max_epochs': 60,
            'train_cfg.val_interval': 60,
            'protocol.name': 'finetune-mixup-1percent',
        },
        seconds=40,
    ),
)
