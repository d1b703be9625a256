# Mask R-CNN, ViT-B, 12 epochs: iBOT's recipe for COCO (Zhou et al. 2022, App.: AdamW, lr 1e-4 per
# 16 images, weight decay 0.05, layer decay 0.75, multi-scale 480..800) with mmdet's Mask R-CNN
# heads in place of Cascade's (ours).
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
