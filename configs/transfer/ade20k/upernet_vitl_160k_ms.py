# The multi-scale test of a model trained with upernet_vitl_160k.py: see upernet_vitb_160k_ms.py.
_base_ = ['upernet_vitb_160k_ms.py']
model = dict(backbone=dict(arch='l', drop_path_rate=0.2))
base_lr = 2e-5
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.95))
