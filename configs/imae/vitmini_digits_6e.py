# i-MAE on digit scenes in minutes on a CPU. All settings are ours. An epoch sees each image twice
# (anchor and partner), so 6 epochs see as many images as 12 of MAE. Train its teacher first:
# ../mae/vitmini_digits_12e.py.
_base_ = [
    '../_base_/models/imae.py',
    '../_base_/datasets/digit_scenes_pairs.py',
    '../_base_/schedules/mae_pretrain.py',
    '../_base_/runtime.py',
]
# ViT-mini: 64 patches of 8x8 pixels.
model = dict(
    backbone=dict(arch='mini', img_size=64, patch_size=8),
    neck=dict(decoder_embed_dim=64, decoder_depth=2, decoder_num_heads=2),
    # Most patches are smooth and noisy: normalised one by one, their noise would be the target.
    head=dict(norm_pix=False),
    teacher=dict(checkpoint='work_dirs/mae/vitmini_digits_12e/epoch_12.pth'),
)
# A short run needs many steps and a high learning rate: 1.5e-3. fp32, because at this width
# bfloat16 is not faster, even on a CPU that supports it.
base_lr = 12e-3
warmup_epochs = 1
train_cfg = dict(max_epochs=6)
optim_wrapper = dict(type='OptimWrapper')
default_hooks = dict(logger=dict(interval=25))
