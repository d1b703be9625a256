# i-MAE's Tables 1-4 on CIFAR-10 (Zhang and Shen 2022, Sec. 4.2), and MixedAE: 2000 epochs
# of pre-training, fine-tuning with Mixup and linear probe in every row.
_base_ = ['_base_/cifar10_evaluations.py']
title = 'CIFAR-10'
seeds = [0, 1, 2]

# An epoch of pairs sees each image twice: half of the paper's 2000 epochs are as many images.
_imae = dict(config='configs/imae/vitt_cifar10_2000e.py')
_pairs = {'train_cfg.max_epochs': 1000, 'warmup_epochs': 100}
_ratio = 'train_dataloader.sampler.same_class_ratio'
pretrain = dict(
    mae=dict(title='MAE', config='configs/mae/vitt_cifar10_2000e.py'),
    mixedae=dict(title='MixedAE', config='configs/mixedae/vitt_cifar10_2000e.py'),
    imae_no_distill=dict(
        **_imae, title='i-MAE without distillation', options={**_pairs, 'model.distill': None}
    ),
    imae=dict(**_imae, title='i-MAE', teacher='mae', options=_pairs),
    # Table 3: the share of same-class pairs.
    imae_same_0=dict(**_imae, title='i-MAE, r = 0', teacher='mae', options={**_pairs, _ratio: 0.0}),
    imae_same_50=dict(
        **_imae, title='i-MAE, r = 0.5', teacher='mae', options={**_pairs, _ratio: 0.5}
    ),
    imae_same_100=dict(
        **_imae, title='i-MAE, r = 1', teacher='mae', options={**_pairs, _ratio: 1.0}
    ),
)
# Table 4.
analyses = dict(
    separability=dict(
        title='linear separability',
        tool='tools/analysis/separability.py',
        of='imae',
        arguments=(
            'configs/imae/vitt_cifar10_2000e.py {imae} {imae_same_0} {imae_same_50} '
            '{imae_same_100} '
            '--teacher {mae} --without-distillation {imae_no_distill} '
            '--data configs/transfer/cifar/cifar10_vitt_linear.py '
            '--seed {seed} --budget {budget} --records {records}'
        ).split(),
    ),
)
columns = ['finetune', 'linear', 'knn']
columns += ['nrmse_before', 'nrmse_after', 'r2_before', 'r2_after', 'cosine_before', 'cosine_after']
columns += ['time', 'device_hours', 'images_seen', 'flops']
published = 'matching'
