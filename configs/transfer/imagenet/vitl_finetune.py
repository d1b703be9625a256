_base_ = ['vitb_finetune.py']
model = dict(backbone=dict(arch='l', drop_path_rate=0.2))
base_lr = 0.001
train_cfg = dict(max_epochs=50)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
