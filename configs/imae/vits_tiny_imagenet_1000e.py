# Its teacher: ../mae/vits_tiny_imagenet_1000e.py, trained first.
_base_ = [
    '../_base_/models/imae.py',
    '../_base_/datasets/tiny_imagenet_pairs.py',
    '../_base_/schedules/mae_pretrain.py',
    '../_base_/runtime.py',
]
# ViT-Small and a decoder as wide and deep as ViT-Tiny; patches of 8 (ours).
model = dict(
    backbone=dict(arch='s', img_size=64, patch_size=8),
    neck=dict(decoder_embed_dim=192, decoder_depth=12, decoder_num_heads=3),
    teacher=dict(checkpoint='work_dirs/mae/vits_tiny_imagenet_1000e/epoch_1000.pth'),
)
warmup_epochs = 100
train_cfg = dict(max_epochs=1000)
