# Efficient probing: a few learnt queries gather the patch tokens of the frozen encoder.
_base_ = ['vit_probe.py']

model = dict(
    head=dict(
        type='mixae.EfficientProbeHead', num_classes='auto', in_channels='auto', num_queries=32
    ),
)
