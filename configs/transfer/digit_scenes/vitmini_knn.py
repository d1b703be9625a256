_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/digit_scenes_probe.py',
    '../../_base_/schedules/knn.py',
    '../../_base_/runtime.py',
]
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
)
