# Cascade Mask R-CNN, ViT-B, 12 epochs: iBOT (Zhou et al. 2022) with the heads, drop path and layer
# decay (0.65) of its released config and the 1x schedule of its paper.
_base_ = [
    '../../_base_/models/dense_cascade_mask_rcnn.py',
    '../../_base_/datasets/dense_coco.py',
    '../../_base_/schedules/dense_coco.py',
    '../../_base_/runtime.py',
]
default_scope = 'mmdet'
base_lr = 1e-4
base_lr_batch = 16
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.65))
visualizer = dict(type='DetLocalVisualizer')
protocol = dict(name='cascade-1x', version='1')
