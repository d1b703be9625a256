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
            embed_dims=96,
            num_layers=4,
            num_heads=3,
            feedforward_channels=384,
        ),
        img_size=64,
        patch_size=8,
    ),
)
