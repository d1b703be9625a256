# Mask R-CNN, ViT-B, 12 epochs: iBOT's recipe for COCO (Zhou et al. 2022, App. C: AdamW, lr 1e-4 per
# 16 images, weight decay 0.05, multi-scale 480..800; drop path 0.2 of its released config, steps at
# 8 and 11 and layer decay 0.75 of its repository's command) with mmdet's Mask R-CNN heads in place
# of Cascade's (ours). Its config keeps the position embedding at 42x68 patches; ours stays at the
# pre-training's grid and is resampled.
_base_ = [
    '../../_base_/models/dense_mask_rcnn.py',
    '../../_base_/datasets/dense_coco.py',
    '../../_base_/schedules/dense_coco.py',
    '../../_base_/runtime.py',
]
default_scope = 'mmdet'
base_lr = 1e-4
base_lr_batch = 16
visualizer = dict(type='DetLocalVisualizer')
protocol = dict(name='maskrcnn-1x', version='1')
