# Beside the usual evaluations, fine-tuning on 10 % of the labels: 80 images per class. On 1 % even
# MAE stays near chance: 15 % on validation images in a run of 250 epochs.
_base_ = ['digit_scenes_evaluations.py']
evaluate = dict(
    finetune_10percent=dict(
        title='fine-tuning on 10 % of the images',
        tool='train',
        config='configs/transfer/digit_scenes/vitmini_finetune.py',
        scratch='configs/transfer/digit_scenes/vitmini_scratch.py',
        scratch_title='training from scratch on 10 % of the images',
        options={
            'train_dataloader.dataset.subset': 800,
            'train_dataloader.batch_size': 32,
            'train_cfg.max_epochs': 25,
            'train_cfg.val_interval': 25,
            'protocol.name': 'finetune-mixup-10percent',
        },
        seconds=80,
    ),
)
