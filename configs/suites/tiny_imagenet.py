# i-MAE's Tables 2 and 4 on Tiny-ImageNet (ViT-S, 1000 epochs), and MixedAE.
title = 'Tiny-ImageNet'
seeds = [0, 1, 2]
gpus = 4

# An epoch of pairs sees each image twice: half of the paper's 1000 epochs are as many images.
_imae = dict(config='configs/imae/vits_tiny_imagenet_1000e.py', teacher='mae')
_pairs = {'train_cfg.max_epochs': 500, 'warmup_epochs': 50}
pretrain = dict(
    mae=dict(title='MAE', config='configs/mae/vits_tiny_imagenet_1000e.py'),
    mixedae=dict(title='MixedAE', config='configs/mixedae/vits_tiny_imagenet_1000e.py'),
    imae=dict(**_imae, title='i-MAE', options=_pairs),
    imae_same_100=dict(
        **_imae,
        title='i-MAE, r = 1',
        options={**_pairs, 'train_dataloader.sampler.same_class_ratio': 1.0},
    ),
)
evaluate = dict(
    finetune=dict(
        title='fine-tuning',
        tool='train',
        config='configs/transfer/tiny_imagenet/vits_finetune.py',
        scratch='configs/transfer/tiny_imagenet/vits_scratch.py',
        scratch_title='training from scratch',
    ),
    linear=dict(
        title='linear probe',
        tool='test',
        config='configs/transfer/tiny_imagenet/vits_linear.py',
        scratch_title='linear probe of a random encoder',
        gpus=1,
    ),
    knn=dict(
        title='kNN',
        tool='test',
        config='configs/transfer/tiny_imagenet/vits_knn.py',
        scratch_title='kNN of a random encoder',
        gpus=1,
    ),
)
analyses = dict(
    separability=dict(
        title='linear separability',
        tool='tools/analysis/separability.py',
        of='imae',
        arguments=(
            'configs/imae/vits_tiny_imagenet_1000e.py {imae} {imae_same_100} '
            '--teacher {mae} '
            '--data configs/transfer/tiny_imagenet/vits_linear.py '
            '--seed {seed} --budget {budget} --records {records}'
        ).split(),
    ),
)
columns = ['finetune', 'linear', 'knn']
columns += ['nrmse_before', 'nrmse_after', 'r2_before', 'r2_after', 'cosine_before', 'cosine_after']
columns += ['time', 'device_hours', 'images_seen', 'flops']
published = 'matching'
checks = dict(pretraining_pays=dict(linear=dict(gain=5)), topk_isolates=dict())
