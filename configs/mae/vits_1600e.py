_base_ = ['vits_800e.py']
train_cfg = dict(max_epochs=1600)
