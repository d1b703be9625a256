# Linear segmentation probe of a frozen encoder, 160k iterations at 512, as in iBOT (Zhou et al.
# 2022): its released config with what its repository's command sets: lr 8e-4 per 16 images and the
# encoder's final norm on every feature; weight decay 0.05 (not on biases; ours).
_base_ = [
    '../../_base_/models/dense_linear_probe.py',
    '../../_base_/datasets/dense_ade20k.py',
    '../../_base_/schedules/dense_ade20k.py',
    '../../_base_/runtime.py',
]
default_scope = 'mmseg'
base_lr = 8e-4
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
default_hooks = dict(checkpoint=dict(by_epoch=False), logger=dict(log_metric_by_epoch=False))
log_processor = dict(by_epoch=False)
visualizer = dict(type='SegLocalVisualizer')
protocol = dict(name='linear-segmentation', version='2')  # 1: no norms, lr 7e-4
