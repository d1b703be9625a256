# The MAE that vitt_cifar100_2000e.py distils from.
_base_ = ['../mae/vitt_cifar100_2000e.py']
