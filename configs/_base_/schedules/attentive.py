# Efficient probing on small sets (ours: SGD, not LARS, at the batches of small data, in float32).
_base_ = ['linear_imagenet.py']

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD'), paramwise_cfg=None)
task = 'attentive'
protocol = dict(name='efficient-probing', version='1')
