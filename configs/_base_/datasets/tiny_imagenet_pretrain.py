# Tiny-ImageNet at 64x64; tools/datasets/prepare_tiny_imagenet.py prepares the folder.
_base_ = ['imagenet_pretrain.py']

data_root = 'data/tiny_imagenet'
train_dataloader = dict(
    batch_size=256,
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='mixae.ImageFolder',
            data_root='auto',
            data_prefix='train',
            with_label=True,
            pipeline={{_base_.train_pipeline}},
        ),
    ),
)
data_about = dict(name='tiny_imagenet', description='Tiny-ImageNet-200')
