# ImageNet-1K, loaded as the small sets are, for protocols that read features.
_base_ = ['small_set_probe.py']

data_root = 'data/imagenet'
train_features = dict(dataset=dict(dataset=dict(type='mixae.ImageNet')))
test_dataloader = dict(dataset=dict(dataset=dict(type='mixae.ImageNet', split='val')))
data_about = dict(name='imagenet', description='ImageNet-1K, ILSVRC 2012', split='val')
