"""What cannot work at the end of a run is known before its first step, and costs no bit."""

import random

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import BaseMetric

from mixae.checkpoints.read import read_checkpoint
from mixae.engine import launch
from mixae.engine.hooks import SanityCheckHook
from mixae.errors import ConfigError, RecordError
from mixae.registry import METRICS
from mixae.results.record import read_record

FINETUNE = 'transfer/cifar/cifar10_vitt_finetune.py'


@METRICS.register_module()
class PartsMetric(BaseMetric):
    """Keeps a state between batches, draws random numbers, and fails where it is told to."""

    default_prefix = 'parts'

    def __init__(self, fail: str = '') -> None:
        super().__init__()
        self.fail = fail
        self.seen = []
        self.first = None

    def process(self, data_batch, data_samples) -> None:
        torch.rand(3), np.random.rand(), random.random()
        self.seen += [1] * len(data_samples)
        self.first = self.first or len(data_samples)
        self.results += [1] * len(data_samples)

    def compute_metrics(self, results) -> dict:
        if self.fail:
            {}[self.fail]
        return dict(count=len(results), seen=len(self.seen), first=self.first)


def train(cfg, **options):
    cfg.merge_from_dict(options)
    return launch.train(cfg, pretrained='scratch')


def log(folder):
    return ''.join(path.read_text() for path in sorted(folder.glob('*/*.log')))


def test_an_evaluator_that_cannot_work_ends_the_run_before_its_first_step(small_config, tmp_path):
    cfg = small_config(FINETUNE)
    cfg.val_evaluator = dict(type='mixae.PartsMetric', fail='area')
    with pytest.raises(ConfigError, match="its first batch ended in KeyError: 'area'") as error:
        launch.train(cfg, pretrained='scratch')
    assert '\n' not in str(error.value)
    assert not list((tmp_path / 'run').glob('*.pth'))
    assert '{}[self.fail]' in log(tmp_path / 'run')  # where it failed, for whoever wrote it


@pytest.mark.parametrize(
    'remove, error, names',
    [
        ('protocol', ConfigError, 'which also wants protocol'),
        ('data_about', ConfigError, 'which also wants data_about'),
    ],
)
def test_a_record_that_cannot_be_written_is_known_at_start(
    small_config, tmp_path, remove, error, names
):
    cfg = small_config(FINETUNE)
    cfg.pop(remove)
    with pytest.raises(error, match=names):
        launch.train(cfg, pretrained='scratch')
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_a_task_that_records_do_not_know_is_known_at_start(small_config, tmp_path):
    cfg = small_config(FINETUNE)
    cfg.task = 'classify'
    with pytest.raises(RecordError, match="task: 'classify'"):
        launch.train(cfg, pretrained='scratch')


@pytest.mark.parametrize(
    'options',
    [
        {'default_hooks.checkpoint.save_best': 'accuracy/top5'},
        {'custom_hooks': [dict(type='EarlyStoppingHook', monitor='accuracy/top5')]},
    ],
)
def test_a_metric_that_a_hook_waits_for_in_vain_is_named(small_config, options):
    with pytest.raises(ConfigError, match=r'Hook waits for accuracy/top5, .* accuracy/top1\.'):
        train(small_config(FINETUNE), **options)


@pytest.mark.parametrize(
    'given, measured', [((1, 5), ['top1']), ((3, 4, 5), ['top3', 'top4']), ((5,), ['top1'])]
)
def test_topk_is_capped_at_the_classes(small_config, tmp_path, given, measured):
    cfg = small_config(FINETUNE, epochs=1)
    cfg.val_evaluator.topk = given
    launch.train(cfg, pretrained='scratch')
    (path,) = (tmp_path / 'run/records').glob('*.json')
    assert list(read_record(path)['metrics']) == [f'accuracy/{name}' for name in measured]
    assert '4 classes: accuracy is top-' in log(tmp_path / 'run')


# A training step of one image.


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    return tmp_path_factory.mktemp('digit_scenes')


def segmentor(scenes, work_dir, images=8, batch_size=4, epochs=1):
    cfg = Config.fromfile('configs/transfer/digit_scenes/vitmini_segmentation.py')
    cfg.work_dir, cfg.experiment_name = str(work_dir), work_dir.name
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.num_workers = 0
        loader.dataset.update(
            data_root=str(scenes), options=dict(num_train=10, num_test=10), indices=4
        )
    cfg.train_dataloader.batch_size = batch_size
    cfg.train_dataloader.dataset.indices = images
    cfg.train_cfg.max_epochs = epochs
    # BatchNorm's statistics of one value per channel, as in UperNet's pooling to 1x1.
    cfg.model.decode_head.update(type='PSPHead', pool_scales=(1,), dropout_ratio=0)
    cfg.model.decode_head.norm_cfg = ConfigDict(type='SyncBN')
    for name in ('num_convs', 'concat_input'):
        cfg.model.decode_head.pop(name)
    return cfg


@pytest.mark.dense
@pytest.mark.parametrize(
    'images, batch_size, names',
    [
        (5, 4, r'the last batch of an epoch \(5 images in batches of 4, 1 processes\)'),
        (4, 1, r'which is train_dataloader.batch_size=1'),
    ],
)
def test_batchnorm_on_one_value_is_known_at_start(scenes, tmp_path, images, batch_size, names):
    cfg = segmentor(scenes, tmp_path, images, batch_size)
    with pytest.raises(
        ConfigError, match=f'{names}: ValueError: Expected more than 1 value per channel'
    ):
        launch.train(cfg, pretrained='scratch')
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.dense
@pytest.mark.parametrize('images, drop_last', [(6, False), (5, True)])
def test_batches_of_more_than_one_go_on(scenes, tmp_path, images, drop_last):
    cfg = segmentor(scenes, tmp_path, images)
    cfg.train_dataloader.drop_last = drop_last
    assert launch.train(cfg, pretrained='scratch').iter == (1 if drop_last else 2)


# It changes nothing.


def outcome(cfg, work_dir, monkeypatch, checked):
    if not checked:
        monkeypatch.setattr(SanityCheckHook, 'before_train', lambda self, runner: None)
    cfg.work_dir, cfg.experiment_name = str(work_dir), work_dir.name
    launch.train(cfg, pretrained='scratch')
    (path,) = work_dir.glob('records/*.json')
    (checkpoint,) = work_dir.glob('epoch_1.pth')
    content = read_checkpoint(checkpoint)
    return content['state_dict'], content['optimizer'], read_record(path)['metrics']


@pytest.mark.dense
@pytest.mark.parametrize('kind', ['segmentation', 'classification'])
def test_the_run_is_as_it_would_be_without(scenes, small_config, tmp_path, monkeypatch, kind):
    def config():
        if kind == 'classification':
            cfg = small_config(FINETUNE, epochs=1)
            # Augmentation that draws from the process's own generator.
            cfg.train_dataloader.dataset = cfg.train_dataloader.dataset.dataset
        else:
            cfg = segmentor(scenes, tmp_path, images=6)
            assert 'norm_cfg' in cfg.model.decode_head
        cfg.default_hooks.pop('seed_iteration')
        cfg.val_evaluator = [cfg.val_evaluator, dict(type='mixae.PartsMetric')]
        return cfg

    with_check = outcome(config(), tmp_path / 'with', monkeypatch, True)
    without = outcome(config(), tmp_path / 'without', monkeypatch, False)
    for key, value in without[0].items():
        assert torch.equal(with_check[0][key], value), key
    assert str(with_check[1]) == str(without[1])
    assert with_check[2] == without[2]
    assert with_check[2]['parts/seen']['value'] == with_check[2]['parts/count']['value']
