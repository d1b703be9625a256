# COCO has 118,000 images: 800 epochs see as many as 74 of ImageNet-1K.
_base_ = [
    '../_base_/models/mae.py',
    '../_base_/datasets/coco_pretrain.py',
    '../_base_/schedules/mae_pretrain.py',
    '../_base_/runtime.py',
]
model = dict(backbone=dict(arch='b'))
train_cfg = dict(max_epochs=800)
