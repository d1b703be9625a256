# UperNet, ViT-B, 160k iterations at 512, as in mmseg's config for MAE: lr 1e-4 per 16 images, layer
# decay 0.65, drop path 0.1, weight decay 0.05. (He et al. 2022, App. A.4, train for 100 epochs with
# a batch size of 16 and search the learning rate.)
_base_ = [
    '../../_base_/models/dense_upernet.py',
    '../../_base_/datasets/dense_ade20k.py',
    '../../_base_/schedules/dense_ade20k.py',
    '../../_base_/runtime.py',
]
default_scope = 'mmseg'
default_hooks = dict(checkpoint=dict(by_epoch=False), logger=dict(log_metric_by_epoch=False))
log_processor = dict(by_epoch=False)
visualizer = dict(type='SegLocalVisualizer')
protocol = dict(name='upernet', version='1')
