_base_ = ['vitb_800e.py']
train_cfg = dict(max_epochs=300)
