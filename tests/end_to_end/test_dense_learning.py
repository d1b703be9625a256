"""The shipped recipes learn 16 real images by heart; the numbers are in docs/dense_transfer.md.

The control is the truth moved on by one image: what a run that loses the tie between images and
labels would reach, however long it trains.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mixae.engine import launch

ROOT = Path(__file__).parents[2] / 'configs/transfer'
pytestmark = [pytest.mark.dense, pytest.mark.slow]
IMAGES = 16
ENCODER = dict(embed_dims=96, num_layers=4, num_heads=3, feedforward_channels=384)


def small(path, data_root, work_dir):
    cfg = Config.fromfile(ROOT / path)
    cfg.data_root, cfg.work_dir = str(data_root), str(work_dir)
    cfg.model.backbone.update(arch=ENCODER, out_indices=[0, 1, 2, 3], drop_path_rate=0.0)
    cfg.base_lr, cfg.warmup_iters = 4e-3, 20  # per 16 images
    cfg.randomness = dict(seed=0)
    cfg.optim_wrapper.type = 'OptimWrapper'
    cfg.optim_wrapper.paramwise_cfg.layer_decay_rate = 1.0
    cfg.train_dataloader.batch_size = 4
    cfg.default_hooks.logger.interval = 20
    return cfg


def on_training_images(cfg, **dataset):
    """Validation and test read the images that training reads, through the test pipeline."""
    train = cfg.train_dataloader.dataset
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.num_workers = 0
        loader.dataset.indices = IMAGES
        for key in ('ann_file', 'data_prefix'):
            if key in train:
                loader.dataset[key] = train[key]
    cfg.val_dataloader.dataset.update(dataset)
    cfg.test_dataloader = cfg.val_dataloader
    return cfg


def detector(data_root, work_dir, ann_file):
    cfg = small('coco/maskrcnn_vitb_1x.py', data_root, work_dir)
    # FPN and heads have no norms; at a rate that learns in minutes they diverge without.
    cfg.base_lr, cfg.warmup_iters = 1.2e-3, 50
    cfg.model.neck[1].norm_cfg = cfg.model.roi_head.mask_head.norm_cfg = dict(
        type='GN', num_groups=16
    )
    cfg.optim_wrapper.clip_grad = dict(max_norm=5.0)
    cfg.train_dataloader.dataset.ann_file = ann_file
    on_training_images(cfg)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.pipeline = [
            dict(type='Resize', scale=(160, 160), keep_ratio=True) if x.type == 'Resize' else x
            for x in loader.dataset.pipeline
        ]
    steps = cfg.train_dataloader.dataset.pipeline
    cfg.train_dataloader.dataset.pipeline = [
        dict(type='Resize', scale=(160, 160), keep_ratio=True) if x.type == 'RandomChoice' else x
        for x in steps
        if x.type != 'RandomFlip'
    ]
    cfg.model.neck[1].out_channels = 64
    cfg.model.rpn_head.update(in_channels=64, feat_channels=64)
    cfg.model.rpn_head.anchor_generator.scales = [4]
    heads = cfg.model.roi_head
    heads.bbox_roi_extractor.out_channels = heads.mask_roi_extractor.out_channels = 64
    heads.bbox_roi_extractor.finest_scale = heads.mask_roi_extractor.finest_scale = 28
    heads.bbox_head.update(in_channels=64, fc_out_channels=256)
    heads.mask_head.update(num_convs=1, in_channels=64, conv_out_channels=64)
    cfg.model.train_cfg.rpn_proposal.update(nms_pre=200, max_per_img=100)
    cfg.model.train_cfg.rcnn.sampler.num = 32
    cfg.model.test_cfg.rpn.update(nms_pre=200, max_per_img=100)
    cfg.train_cfg.max_epochs = 200
    cfg.default_hooks.checkpoint.interval = 200
    return cfg


def test_mask_rcnn_learns_16_images(real_data, tmp_path):
    """Four minutes on one core."""
    root = real_data / 'mini-coco'
    content = json.loads((root / 'annotations/instances_train2017.json').read_text())
    used = {a['image_id'] for a in content['annotations'] if not a['iscrowd']}
    content['images'] = [i for i in content['images'] if i['id'] in used][:IMAGES]
    ids = [image['id'] for image in content['images']]
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] in ids]
    (tmp_path / 'true.json').write_text(json.dumps(content))
    following = dict(zip(ids, ids[1:] + ids[:1], strict=True))
    for annotation in content['annotations']:
        annotation['image_id'] = following[annotation['image_id']]
    (tmp_path / 'moved.json').write_text(json.dumps(content))

    launch.train(detector(root, tmp_path, str(tmp_path / 'true.json')), pretrained='scratch')
    (record,) = tmp_path.glob('records/*.json')
    metrics = json.loads(record.read_text())['metrics']
    learnt = [metrics[f'coco/{kind}_mAP_50']['value'] for kind in ('bbox', 'segm')]
    moved = detector(root, tmp_path / 'moved', str(tmp_path / 'moved.json'))
    control = launch.test(moved, str(tmp_path / 'epoch_200.pth'))
    control = [control[f'coco/{kind}_mAP_50'] for kind in ('bbox', 'segm')]
    print(f'AP50 of boxes and masks {learnt}, with the truth of another image {control}')
    assert learnt[0] > 0.6 and learnt[1] > 0.25
    assert max(control) < 0.1


def segmentor(data_root, work_dir, masks=None):
    cfg = small('ade20k/upernet_vitb_160k.py', data_root, work_dir)
    cfg.model.backbone.img_size = 128
    prefix = cfg.train_dataloader.dataset.data_prefix
    on_training_images(cfg)
    if masks:
        prefix = dict(img_path=prefix.img_path, seg_map_path=str(masks))
        cfg.val_dataloader.dataset.data_prefix = cfg.test_dataloader.dataset.data_prefix = prefix
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == 'RandomResize':
            step.ratio_range = (1.0, 1.0)
    cfg.train_dataloader.dataset.pipeline = [
        x
        for x in cfg.train_dataloader.dataset.pipeline
        if x.type not in ('RandomFlip', 'PhotoMetricDistortion')
    ]
    cfg.train_cfg.max_iters = 500
    cfg.default_hooks.checkpoint.interval = 500
    return cfg


def test_upernet_learns_16_images(real_data, tmp_path):
    """Six minutes on one core."""
    root = real_data / 'mini-ade/ADEChallengeData2016'
    masks = sorted((root / 'annotations/training').glob('*.png'))
    moved = tmp_path / 'masks'
    moved.mkdir()
    for mask in masks[IMAGES:]:  # not read, but every image must have one
        (moved / mask.name).symlink_to(mask)
    masks = masks[:IMAGES]
    for mask, following in zip(masks, masks[1:] + masks[:1], strict=True):
        size = Image.open(mask).size
        label = Image.open(following).resize(size, Image.Resampling.NEAREST)
        Image.fromarray(np.asarray(label)).save(moved / mask.name)

    launch.train(segmentor(root, tmp_path), pretrained='scratch')
    (record,) = tmp_path.glob('records/*.json')
    learnt = json.loads(record.read_text())['metrics']['mIoU']['value']
    control = launch.test(
        segmentor(root, tmp_path / 'moved', moved), str(tmp_path / 'iter_500.pth')
    )['mIoU']
    print(f'mIoU {learnt}, with the truth of another image {control}')
    assert learnt > 35
    assert control < 10
