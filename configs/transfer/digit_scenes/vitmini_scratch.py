# The row without pre-training: the fine-tuning protocol from random weights.
_base_ = ['vitmini_finetune.py']
pretrained = 'scratch'
