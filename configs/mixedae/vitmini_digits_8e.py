# The demo: MixedAE on digit scenes in minutes on a CPU. All of it is ours.
_base_ = [
    '../_base_/models/mixedae.py',
    '../_base_/datasets/digit_scenes_pretrain.py',
    '../_base_/schedules/mae_pretrain.py',
    '../_base_/runtime_mixedae.py',
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
)
# A short run needs a high rate. fp32: at this width bfloat16 is no faster on a CPU that has it.
base_lr = 2e-3
warmup_epochs = 1
train_cfg = dict(max_epochs=8)
optim_wrapper = dict(type='OptimWrapper')
default_hooks = dict(logger=dict(interval=10), topk_accuracy=dict(interval=10))
