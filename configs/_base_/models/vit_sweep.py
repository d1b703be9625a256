# Linear probes of many features and rates at once, on the frozen encoder (docs/probes.md).
_base_ = ['vit_probe.py']

model = dict(
    backbone=dict(out_indices=[-4, -3, -2, -1], norm_outputs=True),
    head=dict(type='mixae.SweepHead', num_classes='auto', in_channels='auto'),
)
