# CIFAR-10 with an encoder small enough for a CPU: 300,000 views per row: i-MAE's Tables 1 to 4,
# MixedAE and naive mixing. It takes hours on two cores and continues after an interruption.
_base_ = ['_base_/cifar10_evaluations.py']
title = 'CIFAR-10 with a ViT of 6 layers, 128 wide'
seeds = [0, 1, 2]
budget = '300,000 views of 50,000 images; fine-tuning 160,000 views of 20,000 images; one CPU core'

_vit = {
    'model.backbone.arch': dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512)
}
_mixedae = dict(config='configs/mixedae/vit128x6_cifar10_6e.py')
_imae = dict(config='configs/imae/vit128x6_cifar10_3e.py')
_ratio = 'train_dataloader.sampler.same_class_ratio'
pretrain = dict(
    mae=dict(title='MAE', config='configs/mae/vit128x6_cifar10_6e.py'),
    mixedae=dict(**_mixedae, title='MixedAE'),
    naive=dict(
        **_mixedae,
        title='naive mixing',
        options={'model.attention.mode': 'global', 'model.contrast': None},
    ),
    imae_no_distill=dict(
        **_imae,
        title='i-MAE without distillation',
        options={'model.distill': None, 'model.teacher': None},
    ),
    imae=dict(**_imae, title='i-MAE', teacher='mae'),
    imae_same_0=dict(**_imae, title='i-MAE, other classes', teacher='mae', options={_ratio: 0.0}),
    imae_same_50=dict(
        **_imae, title='i-MAE, half same class', teacher='mae', options={_ratio: 0.5}
    ),
    imae_same_100=dict(
        **_imae, title='i-MAE, all same class', teacher='mae', options={_ratio: 1.0}
    ),
)

_test = {'test_dataloader.num_workers': 1}
_probe = {**_vit, **_test, 'train_features.num_workers': 1}
evaluate = dict(
    finetune=dict(
        options={
            **_vit,
            'train_cfg.max_epochs': 8,
            'train_cfg.val_interval': 8,
            'warmup_epochs': 1,
            'base_lr': 4e-3,
            'model.train_cfg.augments': [dict(type='Mixup', alpha=0.2)],
            'train_dataloader.batch_size': 64,
            'train_dataloader.num_workers': 1,
            'train_dataloader.dataset.subset': 20_000,
            'val_dataloader.num_workers': 1,
        },
    ),
    linear=dict(options=_probe),
    knn=dict(options=_probe),
)
analyses = dict(
    separability=dict(
        title='linear separability',
        tool='tools/analysis/separability.py',
        of='imae',
        arguments=(
            'configs/imae/vit128x6_cifar10_3e.py {imae} {imae_same_0} {imae_same_50} '
            '{imae_same_100} --teacher {mae} --without-distillation {imae_no_distill} '
            '--data configs/transfer/cifar/cifar10_vitt_linear.py '
            '--data-options train_features.num_workers=1 '
            'train_features.dataset.subset=3000 test_dataloader.num_workers=1 '
            'test_dataloader.dataset.subset=2000 '
            '--seed {seed} --budget {budget} --records {records}'
        ).split(),
    ),
)
columns = ['finetune', 'linear', 'knn']
columns += ['nrmse_before', 'nrmse_after', 'r2_before', 'r2_after', 'cosine_before', 'cosine_after']
columns += ['time', 'images_seen', 'flops']
published = 'matching'
