# The test scenes of digit scenes with their masks, for tools/analysis/object_completeness.py.
_base_ = ['../_base_/models/vit_probe.py', '../_base_/runtime.py']
# ViT-Mini of ../mae/vitmini_digits_24e.py; at 128 pixels it sees four times the patches.
model = dict(backbone=dict(arch='mini', img_size=64, patch_size=8))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='mmdet.PackDetInputs', meta_keys=('img_id', 'img_path')),
]
test_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        type='mixae.DigitScenesCoco',
        data_root='auto',
        split='test',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
# Read by the tool alone; a config with a test loader states all three.
test_cfg = dict()
test_evaluator = dict(type='mixae.Accuracy')
data_about = dict(name='digit_scenes', description='digit scenes, up to 5 digits, 128x128')
protocol = dict(name='object-completeness', version='1')
