# The segmentor of vitmini_segmentation.py, trained twice as long and evaluated on scenes that no
# setting was chosen on: see vitmini_detection_long.py.
_base_ = ['vitmini_segmentation.py']
train_dataloader = dict(
    dataset=dict(folder='long', options=dict(num_test=600)),
)
val_dataloader = dict(
    dataset=dict(folder='long', options=dict(num_test=600), indices=-300),
)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2)
data_about = dict(description='digit scenes, up to 5 digits, 128x128; test scenes 300 to 599')
protocol = dict(name='segmentation-mini-long')
