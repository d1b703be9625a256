# The MAE that vitt_cifar10_2000e.py distils from.
_base_ = ['../mae/vitt_cifar10_2000e.py']
