# Tiny-ImageNet with the schedule of i-MAE, Sec. 4.2.
_base_ = [
    '../_base_/models/mae.py',
    '../_base_/datasets/tiny_imagenet_pretrain.py',
    '../_base_/schedules/mae_pretrain.py',
    '../_base_/runtime.py',
]
# ViT-Small and a decoder as wide and deep as ViT-Tiny; patches of 8 (ours).
model = dict(
    backbone=dict(arch='s', img_size=64, patch_size=8),
    neck=dict(decoder_embed_dim=192, decoder_depth=12, decoder_num_heads=3),
)
warmup_epochs = 100
train_cfg = dict(max_epochs=1000)
