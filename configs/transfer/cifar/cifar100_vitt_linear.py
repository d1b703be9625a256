_base_ = ['cifar10_vitt_linear.py']
data_root = 'data/cifar100'
data_about = dict(name='cifar100')
