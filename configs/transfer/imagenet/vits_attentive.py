_base_ = ['vitb_attentive.py']
model = dict(backbone=dict(arch='s'))
