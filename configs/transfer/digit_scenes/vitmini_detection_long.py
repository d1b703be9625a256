# The detector of vitmini_detection.py, trained twice as long (the second epoch at a tenth of the
# learning rate) and evaluated on scenes that no setting was chosen on: the 300 after the 300 of the
# default test split. A folder holds scenes of one set of options, so these have their own.
_base_ = ['vitmini_detection.py']
train_dataloader = dict(
    dataset=dict(folder='long', options=dict(num_test=600)),
)
val_dataloader = dict(
    dataset=dict(folder='long', options=dict(num_test=600), indices=-300),
)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2)
data_about = dict(description='digit scenes, up to 5 digits, 128x128; test scenes 300 to 599')
protocol = dict(name='maskrcnn-mini-long')
