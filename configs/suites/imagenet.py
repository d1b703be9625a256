# The headline table of MixedAE (Chen et al. 2023): ViT-B pre-trained on ImageNet-1K for 300, 800
# and 1600 epochs, then ImageNet-1K, ADE20K and COCO. The abstract does not name the detector;
# configs/transfer/coco/cascade_vitb_1x.py is iBOT's.
_base_ = ['_base_/imagenet_probes.py']
title = 'ImageNet-1K, ADE20K, COCO (ViT-B)'
seeds = [0]
gpus = 8

pretrain = {
    f'{_method}_{_epochs}e': dict(
        title=f'{_title}, {_epochs} epochs', config=f'configs/{_method}/vitb_{_epochs}e.py'
    )
    for _epochs in (300, 800, 1600)
    for _method, _title in (('mae', 'MAE'), ('mixedae', 'MixedAE'))
}
# An epoch of pairs sees each image twice: 400 epochs see as many images as 800 of MAE, its teacher.
pretrain['imae_800e'] = dict(
    title='i-MAE, 800 epochs of images',
    config='configs/imae/vitb_800e.py',
    teacher='mae_800e',
    options={'train_cfg.max_epochs': 400, 'warmup_epochs': 20},
)
columns = ['finetune', 'linear', 'attentive', 'knn', 'miou', 'box_ap', 'mask_ap']
columns += ['time', 'device_hours', 'images_seen', 'flops']
published = 'matching'
checks = dict(topk_isolates=dict())
