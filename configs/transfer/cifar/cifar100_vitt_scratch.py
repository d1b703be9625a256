# The row without pre-training: the fine-tuning protocol from random weights.
_base_ = ['cifar100_vitt_finetune.py']
pretrained = 'scratch'
