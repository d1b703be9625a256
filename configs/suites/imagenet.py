# The headline table of MixedAE (Chen et al. 2023): ViT-B pre-trained on ImageNet-1K for 300, 800
# and 1600 epochs, then ImageNet-1K, ADE20K and COCO. The abstract does not name the detector;
# configs/transfer/coco/cascade_vitb_1x.py is iBOT's.
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
# Both images of a pair are seen: 400 epochs of pairs see what 800 of MAE do, its teacher.
pretrain['imae_800e'] = dict(
    title='i-MAE, 800 epochs of images',
    config='configs/imae/vitb_800e.py',
    teacher='mae_800e',
    options={'train_cfg.max_epochs': 400, 'warmup_epochs': 20},
)
evaluate = dict(
    finetune=dict(
        title='fine-tuning',
        tool='train',
        config='configs/transfer/imagenet/vitb_finetune.py',
        scratch='configs/transfer/imagenet/vitb_scratch.py',
        scratch_title='training from scratch',
    ),
    linear=dict(
        title='linear probe',
        tool='train',
        config='configs/transfer/imagenet/vitb_linear.py',
        scratch_title='linear probe of a random encoder',
    ),
    knn=dict(
        title='kNN',
        tool='test',
        config='configs/transfer/imagenet/vitb_knn.py',
        scratch_title='kNN of a random encoder',
    ),
    sweep=dict(
        title='linear probe, best of a sweep',
        tool='train',
        config='configs/transfer/imagenet/vitb_sweep.py',
        scratch_title='best linear probe of a random encoder',
    ),
    attentive=dict(
        title='attentive probe',
        tool='train',
        config='configs/transfer/imagenet/vitb_attentive.py',
        scratch_title='attentive probe of a random encoder',
    ),
    ade20k=dict(
        title='UperNet on ADE20K',
        tool='train',
        config='configs/transfer/ade20k/upernet_vitb_160k.py',
    ),
    coco=dict(
        title='Mask R-CNN on COCO',
        tool='train',
        config='configs/transfer/coco/maskrcnn_vitb_1x.py',
    ),
)
columns = ['finetune', 'linear', 'attentive', 'knn', 'miou', 'box_ap', 'mask_ap']
columns += ['time', 'device_hours', 'images_seen', 'flops']
published = 'matching'
checks = dict(topk_isolates=dict())
