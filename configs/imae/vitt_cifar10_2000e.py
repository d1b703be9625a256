# Its teacher: ../mae/vitt_cifar10_2000e.py, trained first.
_base_ = [
    '../_base_/models/imae.py',
    '../_base_/datasets/cifar_pairs.py',
    '../_base_/schedules/mae_pretrain.py',
    '../_base_/runtime.py',
]
# ViT-Tiny and a decoder of 4 layers of its width; patches of 4 (ours).
model = dict(
    backbone=dict(arch='ti', img_size=32, patch_size=4),
    neck=dict(decoder_embed_dim=192, decoder_depth=4, decoder_num_heads=3),
    teacher=dict(checkpoint='work_dirs/mae/vitt_cifar10_2000e/epoch_2000.pth'),
)
warmup_epochs = 200
train_cfg = dict(max_epochs=2000)
