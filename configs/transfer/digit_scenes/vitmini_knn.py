_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/digit_scenes_probe.py',
    '../../_base_/schedules/knn.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='mini', img_size=64, patch_size=8))
# Plain averages of these features find images with the same background, so kNN stays near chance
# (docs/probes.md).
test_cfg = dict(probe=dict(whiten=True), pool='std')
protocol = dict(name='weighted-knn-white-std')
