# ADE20K (2016) for semantic segmentation. Only data_root names the folder. The encoder's img_size
# gives the crop; scales are (4 x crop, crop), and slides follow.
data_root = 'data/ade/ADEChallengeData2016'
num_classes = 150
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='mixae.CheckSegLabels', num_classes='auto'),
    dict(type='RandomResize', scale='auto', ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size='auto', cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale='auto', keep_ratio=True),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='mixae.CheckSegLabels', num_classes='auto'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='mixae.ADE20KDataset',
        data_root='auto',
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mixae.ADE20KDataset',
        data_root='auto',
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mixae.IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
data_about = dict(name='ade20k', description='ADE20K 2016, 150 classes', split='val')
