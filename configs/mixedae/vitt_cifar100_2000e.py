# CIFAR-100 with the schedule of i-MAE, Sec. 4.2.
_base_ = [
    '../_base_/models/mixedae.py',
    '../_base_/datasets/cifar_pretrain.py',
    '../_base_/schedules/mae_pretrain.py',
    '../_base_/runtime_mixedae.py',
]
# ViT-Tiny and a decoder of 4 layers of its width; patches of 4 (ours).
model = dict(
    backbone=dict(arch='ti', img_size=32, patch_size=4),
    neck=dict(decoder_embed_dim=192, decoder_depth=4, decoder_num_heads=3),
)
warmup_epochs = 200
train_cfg = dict(max_epochs=2000)
data_root = 'data/cifar100'
data_about = dict(name='cifar100')
