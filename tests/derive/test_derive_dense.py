"""Numbers that follow from others, in the configs of detection and segmentation."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mixae.derive import derive
from mixae.errors import ConfigError

ROOT = Path(__file__).parents[2] / 'configs/transfer'
CONFIGS = sorted([*ROOT.glob('coco/*.py'), *ROOT.glob('ade20k/*.py')])


def derived(name, world_size=8, cuda=True, **options):
    cfg = Config.fromfile(ROOT / name)
    cfg.merge_from_dict({'pretrained': 'epoch_800.pth', **options})
    return derive(cfg, world_size, cuda)


def underived(node, path=''):
    """Paths of the entries that a Runner would trip over."""
    left = []
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        where = f'{path}.{key}'
        if isinstance(value, dict | list | tuple):
            left += underived(value, where)
        elif value is None:
            left.append(where.lstrip('.'))
    return left


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: f'{p.parent.name}/{p.stem}')
def test_nothing_is_left_open(path):
    cfg, _ = derived(path.relative_to(ROOT))
    parts = {k: v for k, v in cfg.to_dict().items() if not k.endswith('_pipeline')}
    left = underived({k: v for k, v in parts.items() if v is not None or k != 'load_from'})
    assert [p for p in left if p != 'train_dataloader.batch_sampler'] == []


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: f'{p.parent.name}/{p.stem}')
def test_none_starts_without_a_checkpoint(path):
    with pytest.raises(ConfigError, match='--pretrained CHECKPOINT'):
        derive(Config.fromfile(path))


@pytest.mark.parametrize(
    'name, rate, batch',
    [
        ('coco/maskrcnn_vitb_1x.py', 1e-4, 16),
        ('coco/cascade_vitb_1x.py', 1e-4, 16),
        ('coco/vitdet_vitb_100e.py', 1e-4, 64),
        ('ade20k/upernet_vitb_160k.py', 1e-4, 16),
        ('ade20k/upernet_vitl_160k.py', 2e-5, 16),
        ('ade20k/linear_vitb_160k.py', 8e-4, 16),
        ('ade20k/linear_vitb_40k.py', 1e-3, 16),
    ],
)
def test_the_published_rate_is_that_of_8_gpus(name, rate, batch):
    cfg, notes = derived(name)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate)
    assert any(f'Effective batch {batch} =' in note for note in notes)
    cfg, _ = derived(name, world_size=4)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate / 2)
    cfg, _ = derived(name, world_size=4, **{'optim_wrapper.accumulative_counts': 2})
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate)


def test_the_schedule_follows_the_length():
    cfg, _ = derived('coco/maskrcnn_vitb_1x.py')
    assert [s.get('milestones', s.end) for s in cfg.param_scheduler] == [500, [8, 11]]
    assert cfg.train_cfg.val_interval == 12
    cfg, _ = derived('coco/maskrcnn_vitb_1x.py', **{'train_cfg.max_epochs': 24})
    assert cfg.param_scheduler[1].milestones == [16, 22]
    cfg, _ = derived('coco/vitdet_vitb_100e.py')
    assert cfg.param_scheduler[1].milestones == [89, 96]
    cfg, _ = derived('ade20k/upernet_vitb_160k.py')
    assert [(s.begin, s.end) for s in cfg.param_scheduler] == [(0, 1500), (1500, 160000)]
    cfg, notes = derived('ade20k/upernet_vitb_160k.py', **{'train_cfg.max_iters': 1000})
    assert [(s.begin, s.end) for s in cfg.param_scheduler] == [(0, 100), (100, 1000)]
    assert cfg.train_cfg.val_interval == 1000
    assert any('does not fit in 1000 iterations' in note for note in notes)


def test_widths_follow_the_encoder():
    for name, width in (('b', 768), ('l', 1024), ('s', 384)):
        cfg, _ = derived('coco/maskrcnn_vitb_1x.py', **{'model.backbone.arch': name})
        assert cfg.model.neck[0].embed_dim == width
        assert cfg.model.neck[1].in_channels == [width] * 4
        cfg, _ = derived('coco/vitdet_vitb_100e.py', **{'model.backbone.arch': name})
        assert cfg.model.neck.in_channels == width
        cfg, _ = derived('ade20k/upernet_vitb_160k.py', **{'model.backbone.arch': name})
        head = cfg.model.decode_head
        assert (head.in_channels, head.channels) == ([width] * 4, width)
        assert (head.num_classes, cfg.model.auxiliary_head.in_channels) == (150, width)
        cfg, _ = derived('ade20k/linear_vitb_160k.py', **{'model.backbone.arch': name})
        assert cfg.model.decode_head.channels == 4 * width
        cfg, _ = derived('ade20k/linear_vitb_40k.py', **{'model.backbone.arch': name})
        head = cfg.model.decode_head
        assert (head.in_channels, head.channels, head.num_classes) == (width, width, 150)


@pytest.mark.parametrize(
    'arch, used, everywhere',
    [('b', [3, 5, 7, 11], [2, 5, 8, 11]), ('l', [7, 11, 15, 23], [5, 11, 17, 23])],
)
def test_layers_are_the_published_ones_of_each_depth(arch, used, everywhere):
    options = {'model.backbone.arch': arch}
    for name in ('coco/maskrcnn_vitb_1x.py', 'coco/cascade_vitb_1x.py'):
        cfg, notes = derived(name, **options)
        assert cfg.model.backbone.out_indices == used
        assert not any('take no part' in note for note in notes)
    for name in ('ade20k/upernet_vitb_160k.py', 'ade20k/linear_vitb_160k.py'):
        assert derived(name, **options)[0].model.backbone.out_indices == used
    cfg, notes = derived('coco/vitdet_vitb_100e.py', **options)
    assert cfg.model.backbone.global_layers == everywhere
    assert not any('take no part' in note for note in notes)


def test_layers_that_take_no_part_are_named():
    name, indices = 'coco/maskrcnn_vitb_1x.py', {'model.backbone.out_indices': [3, 5, 7, 11]}
    _, notes = derived(name, **indices, **{'model.backbone.arch': 'l'})
    assert any('ends at layer 11 of 0..23' in note for note in notes)
    for wrong in ([3, 12], [-13, 11]):
        with pytest.raises(ConfigError, match=r'there are layers 0\.\.11'):
            derived(name, **{'model.backbone.out_indices': wrong})
    shallow = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
    cfg = Config.fromfile(ROOT / name)
    cfg.pretrained, cfg.model.backbone.arch = 'scratch', shallow
    with pytest.raises(ConfigError, match='names a layer twice; an encoder of 2 layers'):
        derive(cfg)


@pytest.mark.parametrize(
    'name, options, message',
    [
        # mmdet's anchors and regions stay where a patch of 16 pixels puts them.
        ('maskrcnn_vitb_1x', dict(patch_size=8), r'patch_size=8 gives .*AnchorGenerator of .*4, 8'),
        ('vitdet_vitb_100e', dict(patch_size=14, img_size=224), r'patch_size=14 gives maps of str'),
    ],
)
def test_patches_that_a_detector_is_not_made_for_are_refused(name, options, message):
    options = {f'model.backbone.{key}': value for key, value in options.items()}
    with pytest.raises(ConfigError, match=message):
        derived(f'coco/{name}.py', **options)


def test_patches_of_another_size_take_anchors_and_regions_of_theirs():
    cfg = Config.fromfile(ROOT / 'coco/maskrcnn_vitb_1x.py')
    cfg.pretrained, cfg.model.backbone.patch_size = 'epoch_800.pth', 8
    cfg.model.rpn_head.anchor_generator.strides = [2, 4, 8, 16, 32]
    with pytest.raises(ConfigError, match=r'SingleRoIExtractor of the detector has featmap_strid'):
        derive(cfg)
    for part in ('bbox_roi_extractor', 'mask_roi_extractor'):
        cfg.model.roi_head[part].featmap_strides = [2, 4, 8, 16]
    derive(cfg)


def test_scales_and_crops_follow_the_encoders_image_size():
    for size in (512, 640):
        given = size if size == 512 else [size, size]
        cfg, _ = derived('ade20k/upernet_vitb_160k.py', **{'model.backbone.img_size': given})
        pipeline = cfg.train_dataloader.dataset.pipeline
        assert pipeline[3].scale == cfg.val_dataloader.dataset.pipeline[1].scale == (4 * size, size)
        assert cfg.test_dataloader.dataset.pipeline[1].scale == (4 * size, size)
        assert pipeline[4].crop_size == cfg.model.data_preprocessor['size'] == (size, size)
        assert cfg.model.test_cfg.stride == (size * 2 // 3,) * 2


@pytest.mark.parametrize('size', [512, 640])
def test_views_of_a_multi_scale_test_are_no_smaller_than_the_slide(size):
    options = {'model.backbone.img_size': size}
    cfg, _ = derived('ade20k/upernet_vitb_160k_ms.py', **options)
    views, flips, *_ = cfg.test_dataloader.dataset.pipeline[1].transforms
    # As SETR's resize in BEiT's and iBOT's tests: ratios below 1 are enlarged to the slide.
    assert [view.scale for view in views] == [
        size,
        size,
        size,
        size * 5 // 4,
        size * 3 // 2,
        size * 7 // 4,
    ]
    assert len(flips) == 2 and cfg.model.test_cfg.crop_size == (size, size)


def test_one_option_names_the_data():
    cfg, _ = derived('coco/vitdet_vitb_100e.py', data_root='/data/coco')
    for split in ('train', 'val', 'test'):
        assert cfg[f'{split}_dataloader'].dataset.data_root == '/data/coco'
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert evaluator.ann_file == '/data/coco/annotations/instances_val2017.json'
    cfg, _ = derived('ade20k/linear_vitb_160k.py', data_root='/data/ade')
    assert cfg.train_dataloader.dataset.data_root == '/data/ade'


def test_without_a_gpu_it_runs_in_float32():
    cfg, notes = derived('coco/cascade_vitb_1x.py', cuda=False)
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert 'SyncBN' not in cfg.pretty_text
    assert any('float16' in note for note in notes)
    cfg, _ = derived('coco/cascade_vitb_1x.py')
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper' and 'SyncBN' in cfg.pretty_text
