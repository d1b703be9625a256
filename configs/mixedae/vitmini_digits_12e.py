# MixedAE on digit scenes in minutes on a CPU. All of it is ours.
_base_ = [
    '../_base_/models/mixedae.py',
    '../_base_/datasets/digit_scenes_pretrain.py',
    '../_base_/schedules/mae_pretrain.py',
    '../_base_/runtime_mixedae.py',
]
# ViT-mini: 64 patches of 8x8 pixels.
model = dict(
    backbone=dict(arch='mini', img_size=64, patch_size=8),
    neck=dict(decoder_embed_dim=64, decoder_depth=2, decoder_num_heads=2),
    # Most patches are smooth and noisy: normalised one by one, their noise would be the target.
    head=dict(norm_pix=False),
)
# A short run needs many steps and a high learning rate: 1.5e-3. fp32, because at this width
# bfloat16 is not faster, even on a CPU that supports it.
base_lr = 12e-3
warmup_epochs = 1
train_cfg = dict(max_epochs=12)
optim_wrapper = dict(type='OptimWrapper')
default_hooks = dict(logger=dict(interval=25), topk_accuracy=dict(interval=50))
