_base_ = ['vitb_800e.py']
model = dict(backbone=dict(arch='l'))
