_base_ = ['runtime.py']

default_hooks = dict(topk_accuracy=dict(type='mixae.TopKAccuracyHook', interval=50))
