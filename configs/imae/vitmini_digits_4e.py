# The demo: i-MAE on digit scenes in minutes on a CPU. All of it is ours. An epoch sees each image
# twice (anchor and partner), so 4 epochs see the images of 8 of MAE, which is its teacher:
# ../mae/vitmini_digits_8e.py, trained first.
_base_ = [
    '../_base_/models/imae.py',
    '../_base_/datasets/digit_scenes_pairs.py',
    '../_base_/schedules/mae_pretrain.py',
    '../_base_/runtime.py',
]
# ViT-mini: 64 patches of 8x8 pixels.
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,  # the base names an architecture
            embed_dims=128,
            num_layers=6,
            num_heads=4,
            feedforward_channels=512,
        ),
        img_size=64,
        patch_size=8,
    ),
    neck=dict(decoder_embed_dim=96, decoder_depth=2, decoder_num_heads=3),
    teacher=dict(checkpoint='work_dirs/vitmini_digits_8e/epoch_8.pth'),
)
# A short run needs a high rate. fp32: at this width bfloat16 is no faster on a CPU that has it.
base_lr = 2e-3
warmup_epochs = 1
train_cfg = dict(max_epochs=4)
optim_wrapper = dict(type='OptimWrapper')
default_hooks = dict(logger=dict(interval=10))
