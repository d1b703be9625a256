# The demo: 192,000 views of digit scenes, long enough to tell methods apart, at lr 1e-3. Steps of
# 32 images taught more than half as many of 64: 4 points of fine-tuning and box AP50 more for MAE,
# on validation pictures.
_base_ = ['vitmini_digits_12e.py']
train_dataloader = dict(batch_size=32)
base_lr = 8e-3
train_cfg = dict(max_epochs=24)
# Four readings of kNN, linear probe and RankMe on a part of the data: watched.png.
custom_hooks = [
    dict(type='mixae.WatchHook', config='mixae::transfer/digit_scenes/vitmini_knn.py', interval=6),
]
