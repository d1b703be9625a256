# CIFAR-10 as a folder of images, one subfolder per class, for pre-training at 32x32.
# tools/datasets/prepare_cifar.py writes such a folder.
_base_ = ['imagenet_pretrain.py']

data_root = 'data/cifar10'
# ImageNet's, with Pillow's resize: the records of CIFAR were made with it.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='RandomResizedCrop',
        scale='auto',
        crop_ratio_range=(0.2, 1.0),
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=256,
    num_workers=2,
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='mixae.ImageFolder',
            data_root='auto',
            data_prefix='train',
            with_label=True,
            pipeline=train_pipeline,
        ),
    ),
)
data_about = dict(name='cifar10')
