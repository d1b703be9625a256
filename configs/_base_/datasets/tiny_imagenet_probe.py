# Tiny-ImageNet, both splits without augmentation.
_base_ = ['cifar_probe.py']

data_root = 'data/tiny_imagenet'
test_dataloader = dict(num_workers=8, dataset=dict(dataset=dict(data_prefix='val')))
train_features = dict(num_workers=8)
data_about = dict(name='tiny_imagenet', description='Tiny-ImageNet-200', split='val')
