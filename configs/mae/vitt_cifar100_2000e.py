_base_ = ['vitt_cifar10_2000e.py']
data_root = 'data/cifar100'
data_about = dict(name='cifar100')
