_base_ = ['cifar10_vitt_finetune.py']
num_classes = 100
data_root = 'data/cifar100'
data_about = dict(name='cifar100')
