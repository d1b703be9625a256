"""Every kind of shipped config, interrupted and resumed, ends in the bits of a straight run."""

import copy
import itertools
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.hooks import Hook

from mixae.checkpoints.read import read_checkpoint
from mixae.datasets import InfiniteEpochSampler
from mixae.engine import launch
from mixae.engine.loops import repeatable
from mixae.registry import HOOKS
from tests.states import same, snapshot

TRANSFER = Path('configs/transfer')


@HOOKS.register_module()
class InterruptHook(Hook):
    """Ends a run before a step, as a power cut would."""

    def __init__(self, at: int) -> None:
        self.at = at

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == self.at:
            raise KeyboardInterrupt


def straight_and_resumed(config, tmp_path, stop_at, resumed_from, last):
    """The states at the end of both runs, and at the checkpoint that the second went on from.

    Args:
        config: Makes the config of a run; not changed by it.
        stop_at (int): Steps that the second run takes before it is interrupted.
        resumed_from (str): The checkpoint that it is then resumed from.
        last (str): The last checkpoint.
    """
    straight, resumed = tmp_path / 'straight', tmp_path / 'resumed'

    def train(folder, stop=None, **options):
        cfg = config()
        cfg.work_dir, cfg.experiment_name = str(folder), f'{folder.name}_{stop}'
        if stop is not None:
            cfg.custom_hooks = [dict(type='mixae.InterruptHook', at=stop)]
        if 'pretrained' in cfg:
            options['pretrained'] = 'scratch'
        return launch.train(cfg, **options)

    train(straight)
    with pytest.raises(KeyboardInterrupt):
        train(resumed, stop_at)
    assert sorted(p.stem for p in resumed.glob('*.pth'))[-1] == resumed_from
    middle = states(resumed / f'{resumed_from}.pth')
    runner = train(resumed, resume=True)
    ends = states(straight / f'{last}.pth'), states(resumed / f'{last}.pth')
    assert runner.iter == runner.max_iters
    return *ends, middle


def states(path):
    account = read_checkpoint(path)['mixae']
    told = {k: account[k] for k in ('images_seen', 'iterations', 'epochs')}
    return *snapshot(path), told


def check(*args):
    straight, resumed, middle = straight_and_resumed(*args)
    assert same(straight, resumed)
    assert not same(middle[0], resumed[0])  # what followed the resume did change the weights


# Checkpoints within an epoch.


@pytest.mark.parametrize(
    'stop_at, resumed_from, workers',
    [
        (5, 'iter_4', 0),
        (7, 'iter_6', 0),
        (9, 'iter_8', 0),
        (11, 'iter_10', 0),
        pytest.param(9, 'iter_8', 1, marks=pytest.mark.slow),
    ],
)
def test_fine_tuning_goes_on_within_an_epoch(
    small_config, tmp_path, stop_at, resumed_from, workers
):
    """An epoch has 6 steps: a checkpoint every second lies within one, or at its last step."""

    def config():
        cfg = small_config('transfer/cifar/cifar10_vitt_finetune.py')
        cfg.default_hooks.checkpoint.update(by_epoch=False, interval=2, max_keep_ckpts=1)
        cfg.train_dataloader.update(num_workers=workers, persistent_workers=bool(workers))
        cfg.warmup_epochs = 1
        return cfg

    check(config, tmp_path, stop_at, resumed_from, 'iter_12')


@pytest.mark.parametrize('name', ['mae/vitt_cifar10_2000e.py', 'mixedae/vitt_cifar10_2000e.py'])
def test_pre_training_goes_on_within_an_epoch(small_config, tmp_path, name):
    def config():
        cfg = small_config(name)
        cfg.default_hooks.checkpoint.update(by_epoch=False, interval=4)
        return cfg

    check(config, tmp_path, 9, 'iter_8', 'iter_12')


def test_pre_training_on_images_on_the_device_goes_on_within_an_epoch(small_config, tmp_path):
    """One override puts them there: nothing loads beside the run, and the samples repeat."""

    def config():
        cfg = small_config('mixedae/vitt_cifar10_2000e.py')
        cfg.default_hooks.checkpoint.update(by_epoch=False, interval=4)
        cfg.train_dataloader.dataset.type = 'mixae.DeviceDataset'
        cfg.train_dataloader.num_workers = 2
        return cfg

    check(config, tmp_path, 9, 'iter_8', 'iter_12')


# Detection and segmentation.


def small(cfg, workers=0, images=8):
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=workers, persistent_workers=bool(workers))
        loader.dataset.indices = images
    cfg.default_hooks.logger.interval = 1
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    return cfg


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    return tmp_path_factory.mktemp('digit_scenes')


@pytest.mark.dense
@pytest.mark.parametrize('name', ['vitmini_detection', 'vitmini_segmentation'])
def test_digit_scenes_by_epochs(name, scenes, tmp_path):
    def config():
        cfg = Config.fromfile(TRANSFER / f'digit_scenes/{name}.py')
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            loader.dataset.update(data_root=str(scenes), options=dict(num_train=10, num_test=10))
        cfg.train_cfg.max_epochs = 2
        return small(cfg)

    check(config, tmp_path, 3, 'epoch_1', 'epoch_2')


@pytest.mark.dense
@pytest.mark.parametrize('sampler', ['InfiniteSampler', 'DefaultSampler'])
def test_digit_scenes_by_iterations(sampler, scenes, tmp_path):
    """Two passes over the data and a half, with random crops; interrupted in the second."""

    def config():
        cfg = Config.fromfile(TRANSFER / 'digit_scenes/vitmini_segmentation.py')
        cfg.train_dataloader.dataset.update(
            data_root=str(scenes), options=dict(num_train=10, num_test=10)
        )
        cfg.train_dataloader.dataset.pipeline.insert(
            2, dict(type='mmseg.RandomCrop', crop_size=(96, 96))
        )
        cfg.model.data_preprocessor.size = (96, 96)
        cfg.train_dataloader.sampler.type = sampler
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=5, val_interval=5)
        cfg.param_scheduler = [dict(type='PolyLR', power=1.0, by_epoch=False, begin=0, end=5)]
        cfg.default_hooks.checkpoint.update(by_epoch=False, interval=3)
        return small(cfg)

    check(config, tmp_path, 4, 'iter_3', 'iter_5')


def shrink(cfg, size):
    """Images of about ``size`` pixels and few regions."""
    cfg.model.backbone.arch = 'mini'
    nodes = [cfg.model.get('train_cfg'), cfg.model.get('test_cfg'), cfg.train_dataloader]
    while nodes:
        node = nodes.pop()
        if isinstance(node, list | tuple):
            nodes += node
        if not isinstance(node, dict):
            continue
        nodes += node.values()
        match node.get('type'):
            case 'RandomResize' if node.scale != 'auto':
                node.scale = (size, size)
            case 'RandomChoiceResize':
                node.scales = [(size // 2, size), (size * 3 // 4, size)]
            case 'RandomCrop' if node.crop_size != 'auto':
                node.crop_size = tuple(min(size, side) for side in node.crop_size)
            case 'RandomSampler':
                node.num = 16
        if 'max_per_img' in node:
            node.max_per_img = 50
    return cfg


@pytest.mark.dense
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    'name, workers', [('maskrcnn_vitb_1x', 2), ('cascade_vitb_1x', 0), ('vitdet_vitb_100e', 2)]
)
@pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])
def test_coco(name, workers, by_epoch, real_data, tmp_path):
    """Aspect ratio groups, multi-scale training, large-scale jitter."""

    def config():
        cfg = Config.fromfile(TRANSFER / f'coco/{name}.py')
        cfg.data_root = str(real_data / 'mini-coco')
        shrink(cfg, 128)
        if cfg.model.data_preprocessor.pad_size_divisor > 32:
            cfg.model.data_preprocessor.pad_size_divisor = 128
        cfg.train_dataloader.batch_size = 2
        cfg.train_cfg.max_epochs = 2
        cfg.warmup_iters = 2
        cfg.default_hooks.checkpoint.update(
            by_epoch=by_epoch, interval=1 if by_epoch else 3, max_keep_ckpts=-1
        )
        return small(cfg, workers)

    if by_epoch:
        check(config, tmp_path, 6, 'epoch_1', 'epoch_2')
    else:
        check(config, tmp_path, 7, 'iter_6', 'iter_8')


@pytest.mark.dense
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize('name, workers', [('upernet_vitb_160k', 2), ('linear_vitb_40k', 0)])
def test_ade20k(name, workers, real_data, tmp_path):
    """Random scales, crops and colours, in the second pass over the data."""

    def config():
        cfg = Config.fromfile(TRANSFER / f'ade20k/{name}.py')
        cfg.data_root = str(real_data / 'mini-ade/ADEChallengeData2016')
        shrink(cfg, 64)
        cfg.model.backbone.img_size = 64
        cfg.train_cfg.max_iters = 6
        cfg.warmup_iters = 1
        cfg.default_hooks.checkpoint.update(interval=2, max_keep_ckpts=1)
        return small(cfg, workers, images=4)

    check(config, tmp_path, 5, 'iter_4', 'iter_6')


# The parts.


def test_an_infinite_sampler_counts_its_passes():
    data = list(range(5))
    theirs, drawn = (
        list(itertools.islice(cls(data, seed=3), 12))
        for cls in (InfiniteSampler, InfiniteEpochSampler)
    )
    assert drawn == theirs
    assert [index.epoch for index in drawn] == [0] * 5 + [1] * 5 + [2] * 2
    again = InfiniteEpochSampler(data, seed=3)
    again.skip(7)
    rest = itertools.islice(again, 5)
    assert [(int(i), i.epoch) for i in rest] == [(int(i), i.epoch) for i in drawn[7:]]


def test_only_samplers_that_say_the_epoch_are_seeded():
    """With others each epoch would show each image as the first did."""
    loader = dict(dataset=dict(type='CocoDataset'), sampler=dict(type='DefaultSampler'))
    before = copy.deepcopy(loader)
    seeded = repeatable(loader, 4)
    assert loader == before
    assert seeded['sampler'] == dict(type='mixae.EpochSampler')
    assert seeded['dataset'] == dict(
        type='mixae.SeededDataset', dataset=dict(type='CocoDataset'), seed=4
    )
    loader['sampler']['type'] = DefaultSampler  # as configs in Python name it
    assert repeatable(loader, 4)['sampler'] == dict(type='mixae.EpochSampler')
    loader['sampler']['type'] = 'ClassAwareSampler'
    assert repeatable(loader, 4) is None
    # A recipe that is seeded already stays as it is.
    shipped = dict(
        dataset=dict(type='mixae.SeededDataset', dataset=dict(type='CustomDataset')),
        sampler=dict(type='mixae.EpochSampler', shuffle=True),
    )
    assert repeatable(shipped, 4) == shipped
