# Tiny-ImageNet for classification; the validation split is what results are given on.
_base_ = ['cifar_cls.py']

num_classes = 200
data_root = 'data/tiny_imagenet'
train_dataloader = dict(num_workers=8)
val_dataloader = dict(num_workers=8, dataset=dict(dataset=dict(data_prefix='val')))
test_dataloader = val_dataloader
data_about = dict(name='tiny_imagenet', description='Tiny-ImageNet-200', split='val')
