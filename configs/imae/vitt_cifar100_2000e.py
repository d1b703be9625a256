# Its teacher: ../mae/vitt_cifar100_2000e.py, trained first.
_base_ = ['vitt_cifar10_2000e.py']
model = dict(teacher=dict(checkpoint='work_dirs/mae/vitt_cifar100_2000e/epoch_2000.pth'))
data_root = 'data/cifar100'
data_about = dict(name='cifar100')
