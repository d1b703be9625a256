# The multi-scale test of a model trained with upernet_vitb_160k.py, as in BEiT and iBOT: six
# ratios, each with its mirror image. tools/test.py takes that config's checkpoint. The shorter side
# is ratio x the encoder's input size, but at least that size: BEiT and iBOT enlarge the first two
# views too.
_base_ = ['upernet_vitb_160k.py']
model = dict(type='mixae.MultiScaleSegmentor')
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='ResizeShortestEdge', scale='auto', ratio=ratio, max_size=100000)
                for ratio in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations', reduce_zero_label=True)],
            [dict(type='mixae.CheckSegLabels', num_classes='auto')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
protocol = dict(name='upernet-ms', version='2')  # 1: views smaller than the crop
