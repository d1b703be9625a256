# What is made of every ViT-B pre-trained on ImageNet-1K.
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
