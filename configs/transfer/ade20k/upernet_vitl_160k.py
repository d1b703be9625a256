# UperNet, ViT-L: iBOT's released config (Zhou et al. 2022): lr 2e-5 per 16 images, layer decay
# 0.95, drop path 0.2. (The numbers in its paper have the encoder's final norm on every feature,
# which the config leaves out: --cfg-options model.backbone.norm_outputs=True
# model.backbone.final_norm=True.)
_base_ = ['upernet_vitb_160k.py']
model = dict(backbone=dict(arch='l', drop_path_rate=0.2))
base_lr = 2e-5
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.95))
