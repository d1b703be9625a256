# The detector of vitmini_detection.py, trained twice as long (the second epoch at a tenth of the
# rate), and evaluated on scenes that no setting was chosen on: the test split has 300, which all
# earlier runs saw; these are the 300 that follow them. A data root holds one set of options, hence
# another one.
_base_ = ['vitmini_detection.py']
train_dataloader = dict(
    dataset=dict(options=dict(num_test=600)),
)
val_dataloader = dict(
    dataset=dict(options=dict(num_test=600), indices=-300),
)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2)
data_about = dict(description='digit scenes, up to 5 digits, 128x128; test scenes 300 to 599')
protocol = dict(name='maskrcnn-mini-long')
