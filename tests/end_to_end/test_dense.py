"""The configs of detection and segmentation, run on real images.

Once with a narrow encoder, in seconds, and once, slowly, as shipped: ViT-B and ViT-L with their
heads, optimisers and schedules. What changes is the data root, how much is run, and the size of the
images; without a GPU the run itself replaces float16 and SyncBN.
"""

import copy
import gc
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mixae.engine import launch
from mixae.errors import CheckpointError
from mixae.models import MaskedViT
from mixae.visualization.dense_pictures import draw_predictions

ROOT = Path(__file__).parents[2] / 'configs/transfer'
pytestmark = [pytest.mark.dense, pytest.mark.data]
DETECTION = sorted(p.stem for p in (ROOT / 'coco').glob('*.py'))
SEGMENTATION = sorted(p.stem for p in (ROOT / 'ade20k').glob('*.py'))
ENCODERS = ['a narrow encoder', pytest.param('as shipped', marks=pytest.mark.slow)]


@pytest.fixture(scope='module')
def vit_b(tmp_path_factory):
    """Makes a checkpoint of ViT-B as pre-training saves it, once, where it is asked for."""
    path = tmp_path_factory.mktemp('vit_b') / 'epoch_1.pth'

    def make():
        if not path.exists():
            encoder = MaskedViT('b', mask_ratio=0.75)
            encoder.init_weights()
            state = {f'backbone.{k}': v for k, v in encoder.state_dict().items()}
            torch.save(dict(state_dict=state), path)
        return path

    yield make
    path.unlink(missing_ok=True)


def walk(node):
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from walk(value)


def shrink_images(cfg, size):
    """What a CPU needs: images of about ``size`` pixels."""
    if 'decode_head' in cfg.model:
        cfg.model.backbone.img_size = size
        return
    if cfg.model.data_preprocessor.pad_size_divisor > 32:
        cfg.model.data_preprocessor.pad_size_divisor = size
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        for node in walk(loader):
            match node.get('type'):
                case 'Resize' | 'RandomResize':
                    node.scale = (size, size)
                case 'RandomChoiceResize':
                    node.scales = [(size // 2, size), (size * 3 // 4, size)]
                case 'RandomCrop':
                    node.crop_size = tuple(min(size, side) for side in node.crop_size)


def narrow(cfg):
    """For a run in seconds: an encoder as deep as the config's, narrow, and few regions."""
    depth = 24 if cfg.model.backbone.arch == 'l' else 12
    cfg.model.backbone.arch = dict(
        embed_dims=32, num_layers=depth, num_heads=2, feedforward_channels=64
    )
    for node in walk([cfg.model.train_cfg, cfg.model.test_cfg]):
        if 'max_per_img' in node:
            node.max_per_img = 50
        if 'sampler' in node:
            node.sampler.num = 16


def few(cfg, data_root, images=2, val_images=2, iterations=2):
    """The data root, and how long it runs."""
    cfg.data_root = str(data_root)
    for loader, count in ((cfg.train_dataloader, images), (cfg.val_dataloader, val_images)):
        loader.dataset.indices = count
        loader.num_workers = 0
    cfg.test_dataloader = copy.deepcopy(cfg.val_dataloader)
    if 'max_iters' in cfg.train_cfg:
        cfg.train_cfg.max_iters = iterations
    else:
        cfg.train_cfg.max_epochs = iterations
    cfg.default_hooks.checkpoint.interval = 10**6
    cfg.default_hooks.checkpoint.save_last = False
    cfg.default_hooks.logger.interval = 1


def losses(work_dir):
    log = next(Path(work_dir).glob('*/vis_data/scalars.json')).read_text().splitlines()
    return [entry['loss'] for entry in map(json.loads, log) if 'loss' in entry]


def records(work_dir):
    return [json.loads(p.read_text()) for p in sorted(Path(work_dir).glob('records/*.json'))]


def run(cfg, encoder, vit_b, tmp_path):
    """Two steps; the runner, and the encoder's weights that it started from if it is ViT-B."""
    cfg.work_dir = str(tmp_path)
    large = cfg.model.backbone.arch == 'l'
    if encoder == 'a narrow encoder':
        narrow(cfg)
    start = 'scratch' if large or encoder == 'a narrow encoder' else str(vit_b())
    runner = launch.train(cfg, pretrained=start)
    assert runner.iter == 2 and len(losses(tmp_path)) == 2
    if start == 'scratch':
        return runner, {}
    return runner, torch.load(start, weights_only=True)['state_dict']


@pytest.mark.parametrize('encoder', ENCODERS)
@pytest.mark.parametrize('name', DETECTION)
def test_detection_configs_run(name, encoder, real_data, vit_b, tmp_path):
    cfg = Config.fromfile(ROOT / f'coco/{name}.py')
    few(cfg, real_data / 'mini-coco')
    shrink_images(cfg, 128)
    runner, before = run(cfg, encoder, vit_b, tmp_path)
    # Two steps of the warm-up move it by next to nothing; other weights would differ by much.
    for key in ('backbone.cls_token', 'backbone.layers.11.attn.qkv.weight') if before else ():
        torch.testing.assert_close(runner.model.state_dict()[key], before[key], atol=1e-3, rtol=0)
    assert 'within this run of 2: its learning rate' in next(tmp_path.glob('*/*.log')).read_text()
    # After two steps a detector may find nothing: that is an AP of 0, and a record.
    (record,) = records(tmp_path)
    assert record['task'] == 'detection' and record['dataset']['name'] == 'coco'
    assert record['metrics']['coco/bbox_mAP']['unit'] == 'fraction'
    assert record['metrics']['coco/segm_mAP_50']['value'] < 0.1


@pytest.mark.parametrize('encoder', ENCODERS)
@pytest.mark.parametrize('name', [n for n in SEGMENTATION if not n.endswith('_ms')])
def test_segmentation_configs_run(name, encoder, real_data, vit_b, tmp_path):
    cfg = Config.fromfile(ROOT / f'ade20k/{name}.py')
    few(cfg, real_data / 'mini-ade/ADEChallengeData2016')
    shrink_images(cfg, 128)
    runner, before = run(cfg, encoder, vit_b, tmp_path)
    (record,) = records(tmp_path)
    linear = name.startswith('linear')
    nothing = 'random' if linear else 'scratch'
    assert record['task'] == 'semseg'
    assert record['method'] == ('unknown' if before else nothing)
    assert 0 <= record['metrics']['mIoU']['value'] <= 100
    if linear and before:
        trained = runner.model.state_dict()
        frozen = [k for k in before if k in trained and k != 'backbone.pos_embed']
        assert len(frozen) > 140 and all(torch.equal(trained[k], before[k]) for k in frozen)


@pytest.mark.parametrize('encoder', ENCODERS)
@pytest.mark.parametrize('name', [n[:-3] for n in SEGMENTATION if n.endswith('_ms')])
def test_multi_scale_configs_test_the_single_scale_checkpoint(
    name, encoder, real_data, vit_b, tmp_path
):
    trained = Config.fromfile(ROOT / f'ade20k/{name}.py')
    few(trained, real_data / 'mini-ade/ADEChallengeData2016')
    shrink_images(trained, 64)
    trained.default_hooks.checkpoint.update(save_last=True, save_optimizer=False)
    run(trained, encoder, vit_b, tmp_path)
    gc.collect()  # ViT-L with its optimiser is 7 GB
    cfg = Config.fromfile(ROOT / f'ade20k/{name}_ms.py')
    dataset = cfg.test_dataloader.dataset
    few(cfg, real_data / 'mini-ade/ADEChallengeData2016')
    cfg.test_dataloader.dataset = dataset
    cfg.test_dataloader.dataset.indices = 1
    shrink_images(cfg, 64)
    if encoder == 'a narrow encoder':
        narrow(cfg)
    cfg.work_dir = str(tmp_path / 'ms')
    checkpoint = tmp_path / 'iter_2.pth'
    drawn = draw_predictions(
        copy.deepcopy(cfg), checkpoint, tmp_path / 'pictures', count=1, split='val', device='cpu'
    )
    assert len(drawn) == 1
    metrics = launch.test(cfg, str(checkpoint))
    checkpoint.unlink()  # as shipped it is large
    assert 0 <= metrics['mIoU'] <= 100
    (record,) = records(tmp_path / 'ms')
    assert '-ms' in record['protocol']['name']  # the length of a short run is in it too


def test_a_detector_does_not_start_from_a_checkpoint_without_an_encoder(tmp_path, real_data):
    path = tmp_path / 'decoder.pth'
    torch.save(dict(state_dict={'decoder.weight': torch.zeros(2)}), path)
    cfg = Config.fromfile(ROOT / 'coco/maskrcnn_vitb_1x.py')
    cfg.work_dir = str(tmp_path)
    few(cfg, real_data / 'mini-coco')
    shrink_images(cfg, 128)
    with pytest.raises(CheckpointError, match='has no encoder'):
        launch.train(cfg, pretrained=str(path))
