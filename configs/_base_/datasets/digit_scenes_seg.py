# Digit scenes at 128x128 for semantic segmentation: ten digits and ten backgrounds. No flips: a
# mirrored digit is not a digit.
num_classes = 20
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmseg.LoadAnnotations'),
    dict(type='mmseg.PackSegInputs'),
]
test_pipeline = train_pipeline
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mixae.DigitScenesSeg',
        data_root='auto',
        split='train',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mixae.DigitScenesSeg',
        data_root='auto',
        split='test',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mixae.IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
data_about = dict(name='digit_scenes', description='digit scenes, up to 5 digits, 128x128')
