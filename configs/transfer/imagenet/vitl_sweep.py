_base_ = ['vitb_sweep.py']
model = dict(backbone=dict(arch='l'))
