# CIFAR-10 at a CPU's budget: MAE, MixedAE and i-MAE (ViT-Ti) with equal numbers of images seen. A
# seed takes about half an hour on two cores.
_base_ = ['_base_/cifar10_evaluations.py']
title = 'CIFAR-10 at the budget of a CPU'
seeds = [0, 1, 2]
budget = (
    '16k views of 4,000 images, 500 steps of 32; fine-tuning 4k views of 2,000, 250 steps of 16; '
    'one CPU core'
)

# lr 5e-4 at a batch of 32, the same for every row.
_pretrain = {
    'train_cfg.max_epochs': 4,
    'warmup_epochs': 1,
    'base_lr': 4e-3,
    'train_dataloader.batch_size': 32,
    'train_dataloader.num_workers': 0,
    'train_dataloader.dataset.subset': 4000,
}
_imae = dict(config='configs/imae/vitt_cifar10_2000e.py')
# Both images of a pair are seen: half the epochs.
_pairs = {**_pretrain, 'train_cfg.max_epochs': 2, 'warmup_epochs': 0.5}
_ratio = 'train_dataloader.sampler.same_class_ratio'
pretrain = dict(
    mae=dict(title='MAE', config='configs/mae/vitt_cifar10_2000e.py', options=_pretrain),
    mixedae=dict(
        title='MixedAE', config='configs/mixedae/vitt_cifar10_2000e.py', options=_pretrain
    ),
    imae_no_distill=dict(
        **_imae, title='i-MAE without distillation', options={**_pairs, 'model.distill': None}
    ),
    imae=dict(**_imae, title='i-MAE', teacher='mae', options=_pairs),
    imae_same_50=dict(
        **_imae, title='i-MAE, half same class', teacher='mae', options={**_pairs, _ratio: 0.5}
    ),
    imae_same_100=dict(
        **_imae, title='i-MAE, all same class', teacher='mae', options={**_pairs, _ratio: 1.0}
    ),
)

_test = {'test_dataloader.num_workers': 0, 'test_dataloader.dataset.subset': 2000}
_probe = {**_test, 'train_features.num_workers': 0, 'train_features.dataset.subset': 3000}
evaluate = dict(
    finetune=dict(
        options={
            'train_cfg.max_epochs': 2,
            'warmup_epochs': 0.5,
            'train_dataloader.batch_size': 16,
            'train_dataloader.num_workers': 0,
            'train_dataloader.dataset.subset': 2000,
            'val_dataloader.num_workers': 0,
            'val_dataloader.dataset.subset': 2000,
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
            'configs/imae/vitt_cifar10_2000e.py {imae} {imae_same_50} {imae_same_100} '
            '--teacher {mae} --without-distillation {imae_no_distill} '
            '--data configs/transfer/cifar/cifar10_vitt_linear.py '
            '--data-options train_features.num_workers=0 '
            'train_features.dataset.subset=3000 test_dataloader.num_workers=0 '
            'test_dataloader.dataset.subset=2000 '
            '--seed {seed} --budget {budget} --records {records}'
        ).split(),
    ),
)
columns = ['finetune', 'linear', 'knn']
columns += ['nrmse_before', 'nrmse_after', 'r2_before', 'r2_after', 'cosine_before', 'cosine_after']
columns += ['time', 'images_seen', 'flops']
published = 'matching'
