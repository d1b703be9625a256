_base_ = ['vitb_knn.py']
model = dict(backbone=dict(arch='s'))
