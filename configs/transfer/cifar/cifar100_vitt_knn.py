_base_ = ['cifar10_vitt_knn.py']
data_root = 'data/cifar100'
data_about = dict(name='cifar100')
