# MAE on CIFAR-10 with an encoder that a CPU can feed: 300,000 views. All of it is ours.
_base_ = ['vitt_cifar10_2000e.py']
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512
        ),
    ),
    neck=dict(decoder_embed_dim=128, decoder_depth=2, decoder_num_heads=4),
)
# lr 1.5e-3, in every method alike.
base_lr = 3e-3
warmup_epochs = 0.5
train_dataloader = dict(batch_size=128, num_workers=1)
train_cfg = dict(max_epochs=6)
