_base_ = [
    '../../_base_/models/vit_probe.py',
    '../../_base_/datasets/digit_scenes_probe.py',
    '../../_base_/schedules/knn.py',
    '../../_base_/runtime.py',
]
model = dict(backbone=dict(arch='mini', img_size=64, patch_size=8))
# Averages of these features, as they are, have the neighbours of the background: kNN stays at
# chance (docs/probes.md).
test_cfg = dict(probe=dict(whiten=True), pool='std')
protocol = dict(name='weighted-knn-white-std')
