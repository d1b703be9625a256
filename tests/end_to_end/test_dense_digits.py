"""Detection and segmentation of digit scenes: from a checkpoint to record and pictures."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mixae.datasets.digit_scenes.options import DEFAULTS
from mixae.derive import derive
from mixae.engine import launch
from mixae.errors import CheckpointError, ConfigError
from mixae.models import MaskedViT
from mixae.registry import DATASETS, MODELS
from mixae.visualization.dense_pictures import draw_predictions

ROOT = Path(__file__).parents[2] / 'configs'
pytestmark = pytest.mark.dense


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    return tmp_path_factory.mktemp('digit_scenes')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """The demo's encoder as pre-training saves it."""
    arch = Config.fromfile(ROOT / 'transfer/digit_scenes/vitmini_knn.py').model.backbone.arch
    torch.manual_seed(0)
    encoder = MaskedViT(arch, img_size=64, patch_size=8, mask_ratio=0.75)
    encoder.init_weights()
    path = tmp_path_factory.mktemp('pretrained') / 'epoch_8.pth'
    state = {f'backbone.{k}': v for k, v in encoder.state_dict().items()}
    torch.save(dict(state_dict=state), path)
    return path


def small(name, scenes, work_dir):
    cfg = Config.fromfile(ROOT / f'transfer/digit_scenes/{name}.py')
    cfg.work_dir = str(work_dir)
    cfg.train_cfg.max_epochs = 1
    cfg.default_hooks.logger.interval = 1
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.num_workers = 0
        loader.batch_size = min(loader.batch_size, 4)
        loader.dataset.data_root = str(scenes)
        loader.dataset.options = dict(num_train=10, num_test=10)
        loader.dataset.indices = 8
    return cfg


@pytest.mark.parametrize(
    'name, task, metric, unit',
    [
        ('vitmini_detection', 'detection', 'coco/segm_mAP_50', 'fraction'),
        ('vitmini_segmentation', 'semseg', 'mIoU', '%'),
    ],
)
@pytest.mark.parametrize('start', ['checkpoint', 'scratch'])
def test_a_run_leaves_a_record_and_pictures(
    name, task, metric, unit, start, scenes, checkpoint, tmp_path
):
    cfg = small(name, scenes, tmp_path)
    runner = launch.train(cfg, pretrained=str(checkpoint) if start == 'checkpoint' else start)
    assert runner.iter == 2
    (path,) = tmp_path.glob('records/*.json')
    record = json.loads(path.read_text())
    assert record['task'] == task and record['dataset']['n_train'] == 8
    assert record['method'] == ('unknown' if start == 'checkpoint' else 'scratch')
    assert record['metrics'][metric]['unit'] == unit
    if start == 'scratch':
        return
    (trained,) = tmp_path.glob('epoch_1.pth')
    pictures = draw_predictions(
        small(name, scenes, tmp_path), trained, tmp_path / 'pictures', count=3, threshold=0.0
    )
    assert len(pictures) == 3
    for picture in pictures:
        image = cv2.imread(str(picture)).astype(int)
        panels = np.split(image, 2 if task == 'detection' else 3, axis=1)
        assert all(panel.shape == (128, 128, 3) for panel in panels)
        truth, prediction = panels[-2:]
        assert np.abs(truth - prediction).max() > 30
    metrics = launch.test(small(name, scenes, tmp_path), str(trained))
    assert metrics[metric] == pytest.approx(record['metrics'][metric]['value'])


@pytest.mark.parametrize('name', ['vitmini_detection', 'vitmini_segmentation'])
def test_the_long_runs_are_evaluated_on_scenes_that_no_other_run_sees(name, tmp_path):
    short, long = (
        Config.fromfile(ROOT / f'transfer/digit_scenes/{n}.py') for n in (name, f'{name}_long')
    )
    scenes = {}
    for cfg in (short, long):
        dataset = cfg.val_dataloader.dataset
        assert cfg.test_dataloader.dataset == dataset
        # A hundredth of everything.
        dataset.data_root = str(tmp_path / str(dataset.indices))
        count = dataset.get('options', {}).get('num_test', DEFAULTS['scenes'].num_test)
        dataset.options = dict(num_train=2, num_test=count // 100)
        dataset.indices = int(dataset.indices / 100)
        init_default_scope(cfg.default_scope)
        built = DATASETS.build(dataset)
        scenes[cfg.protocol.name] = [
            Path(built.get_data_info(i)['img_path']).stem for i in range(len(built))
        ]
    assert list(scenes.values()) == [['000000'], ['000003', '000004', '000005']]
    # The pictures are the same however many are made, so that those others are the first three.
    assert DEFAULTS['scenes'].num_test == 300 and len(scenes) == 2


def untrained(cfg, path):
    """A checkpoint of a config's model with random weights."""
    cfg.pretrained = 'scratch'
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(derive(cfg, cuda=False)[0].model)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


def test_pictures_are_of_images_evenly_spaced_over_the_split(scenes, tmp_path):
    cfg = small('vitmini_segmentation', scenes, tmp_path)
    path = untrained(cfg, tmp_path / 'epoch_1.pth')
    drawn = draw_predictions(cfg, path, tmp_path / 'pictures', count=3, device='cpu')
    assert [picture.name for picture in drawn] == ['000000.png', '000003.png', '000007.png']
    for picture in drawn:
        image = cv2.imread(str(scenes / 'scenes/images/validation' / picture.name))
        assert np.array_equal(cv2.imread(str(picture))[:, :128], image)
        assert np.abs(image[..., 0].astype(int) - image[..., 2]).max() > 30  # it has colour


def test_training_images_are_drawn_whole_and_without_dropout(scenes, tmp_path):
    """What training alone does to images and features leaves the pictures as they are."""
    pictures = []
    for augmented in (False, True):
        cfg = small('vitmini_segmentation', scenes, tmp_path)
        if augmented:
            cfg.train_dataloader.dataset.pipeline.insert(2, dict(type='RandomFlip', prob=1.0))
            cfg.model.decode_head.dropout_ratio = 0.9
        path = untrained(cfg, tmp_path / 'epoch_1.pth')
        out = tmp_path / f'augmented_{augmented}'
        (picture,) = draw_predictions(cfg, path, out, count=1, split='train', device='cpu')
        pictures.append(cv2.imread(str(picture)))
    assert np.array_equal(*pictures)
    assert len(np.unique(pictures[0][:, 256:].reshape(-1, 3), axis=0)) > 1000


def test_boxes_below_the_threshold_are_not_drawn(scenes, tmp_path):
    cfg = small('vitmini_detection', scenes, tmp_path)
    path = untrained(cfg, tmp_path / 'epoch_1.pth')
    changed = {}
    # Ten random classes and the background: scores of about a tenth, below the default of 0.3.
    for threshold in (0.0, 1.0):
        out = tmp_path / f'above_{threshold}'
        (picture,) = draw_predictions(cfg, path, out, count=1, threshold=threshold, device='cpu')
        prediction = cv2.imread(str(picture))[:, 128:]
        image = cv2.imread(str(scenes / 'scenes/images/validation' / picture.name))
        changed[threshold] = int((prediction != image).sum())
    assert changed[0.0] > 100 and changed[1.0] == 0


def test_pictures_of_another_checkpoint_are_refused(scenes, checkpoint, tmp_path):
    cfg = small('vitmini_detection', scenes, tmp_path)
    with pytest.raises(CheckpointError, match='epoch_8.pth does not fit MaskRCNN .*Missing key'):
        draw_predictions(cfg, checkpoint, tmp_path)


def test_pictures_need_a_detector_or_a_segmentor(tmp_path):
    cfg = Config.fromfile(ROOT / 'transfer/digit_scenes/vitmini_finetune.py')
    with pytest.raises(ConfigError, match='neither detection heads nor a decode head'):
        draw_predictions(cfg, tmp_path / 'epoch_1.pth', tmp_path)
    cfg = Config.fromfile(ROOT / 'transfer/digit_scenes/vitmini_detection.py')
    with pytest.raises(ConfigError, match="split='all'"):
        draw_predictions(cfg, tmp_path / 'epoch_1.pth', tmp_path, split='all')
