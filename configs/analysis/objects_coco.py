# COCO's validation images with their masks, for tools/analysis/object_completeness.py. Images are
# resized to a square, which does not change shares of areas and IoUs of boxes.
_base_ = ['../_base_/models/vit_probe.py', '../_base_/runtime.py']
data_root = 'data/coco/'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='mmdet.Resize', scale=(224, 224), keep_ratio=False),
    dict(type='mmdet.PackDetInputs', meta_keys=('img_id', 'img_path')),
]
test_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        type='mixae.CocoDataset',
        data_root='auto',
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
# Read by the tool alone; a config with a test loader states all three.
test_cfg = dict()
test_evaluator = dict(type='mixae.Accuracy')
data_about = dict(name='coco', description='COCO 2017, 224x224', split='val')
protocol = dict(name='object-completeness', version='1')
