_base_ = [
    '../../_base_/models/vit_attentive.py',
    '../../_base_/datasets/digit_scenes_cls.py',
    '../../_base_/schedules/attentive.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='mini', img_size=64, patch_size=8), head=dict(num_queries=16))
train_dataloader = dict(batch_size=256)
# So few steps (620) need a high rate: chosen on held-out training images, as in
# configs/suites/demo_search.py.
base_lr = 3.2
train_cfg = dict(max_epochs=20)
warmup_epochs = 2
