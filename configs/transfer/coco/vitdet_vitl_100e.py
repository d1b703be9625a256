# ViTDet with ViT-L: drop path 0.4, layer decay 0.8 (detectron2's released config). Recomputes
# activations to fit 8 images per GPU (ours).
_base_ = ['vitdet_vitb_100e.py']
model = dict(backbone=dict(arch='l', drop_path_rate=0.4, with_cp=True))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
