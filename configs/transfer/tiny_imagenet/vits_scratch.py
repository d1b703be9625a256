# The row without pre-training: the fine-tuning protocol from random weights.
_base_ = ['vits_finetune.py']
pretrained = 'scratch'
