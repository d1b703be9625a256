# ViTDet's Mask R-CNN, ViT-B, 100 epochs with large-scale jitter at 1024 (Li et al. 2022; the
# numbers of detectron2's released config): AdamW, lr 1e-4 per 64 images, weight decay 0.1 (not on
# norms and the position embedding; not on biases either, ours), layer decay 0.7, steps at 8/9 and
# 26/27.
_base_ = [
    '../../_base_/models/dense_vitdet.py',
    '../../_base_/datasets/dense_coco_lsj.py',
    '../../_base_/schedules/dense_coco.py',
    '../../_base_/runtime.py',
]
default_scope = 'mmdet'
base_lr = 1e-4
base_lr_batch = 64
warmup_iters = 250
lr_steps = (8 / 9, 26 / 27)
optim_wrapper = dict(optimizer=dict(weight_decay=0.1), paramwise_cfg=dict(layer_decay_rate=0.7))
train_cfg = dict(max_epochs=100)
visualizer = dict(type='DetLocalVisualizer')
protocol = dict(name='vitdet-maskrcnn-lsj', version='1')
