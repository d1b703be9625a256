_base_ = ['vitb_linear.py']
model = dict(backbone=dict(arch='s'))
