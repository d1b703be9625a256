_base_ = ['vitb_finetune.py']
model = dict(backbone=dict(arch='s'))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
