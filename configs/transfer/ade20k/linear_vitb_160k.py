# The frozen encoder's linear segmentation probe, 160k iterations at 512: iBOT's released config
# (Zhou et al. 2022): lr 7e-4 per 16 images, weight decay 0.05. DINOv2's probe reads the last layer
# only, behind a batch norm.
_base_ = [
    '../../_base_/models/dense_linear_probe.py',
    '../../_base_/datasets/dense_ade20k.py',
    '../../_base_/schedules/dense_ade20k.py',
    '../../_base_/runtime.py',
]
default_scope = 'mmseg'
base_lr = 7e-4
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
default_hooks = dict(checkpoint=dict(by_epoch=False), logger=dict(log_metric_by_epoch=False))
log_processor = dict(by_epoch=False)
visualizer = dict(type='SegLocalVisualizer')
protocol = dict(name='linear-segmentation', version='1')
