"""An old checkpoint goes when the new one is there, not before."""

import os
from pathlib import Path

import pytest
from mmengine.evaluator import BaseMetric
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook

from mixae.engine import launch
from mixae.engine.hooks import CheckpointHook
from mixae.engine.runner import MixaeRunner
from mixae.engine.work_dir import latest_checkpoint
from mixae.registry import METRICS

FINETUNE = 'transfer/cifar/cifar10_vitt_finetune.py'


@METRICS.register_module()
class RisingMetric(BaseMetric):
    """Better every time."""

    default_prefix = 'rising'
    evaluations = 0

    def process(self, data_batch, data_samples) -> None:
        self.results += [0] * len(data_samples)

    def compute_metrics(self, results) -> dict:
        type(self).evaluations += 1
        return dict(value=self.evaluations)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth'))


@pytest.fixture
def saved(monkeypatch):
    """What lies in the folder whenever a checkpoint has got its name."""
    seen = []
    real = MixaeRunner.save_checkpoint

    def save(self, out_dir, filename, *args, **kwargs):
        real(self, out_dir, filename, *args, **kwargs)
        seen.append((filename, names(Path(out_dir))))

    monkeypatch.setattr(MixaeRunner, 'save_checkpoint', save)
    return seen


def config(small_config, **options):
    cfg = small_config(FINETUNE, epochs=3)
    cfg.default_hooks.checkpoint.update(options)
    cfg.train_cfg.val_interval = 1
    return cfg


def test_one_checkpoint_is_kept_until_the_next_is_there(small_config, tmp_path, saved):
    runner = launch.train(config(small_config, max_keep_ckpts=1), pretrained='scratch')
    assert saved == [
        ('epoch_1.pth', ['epoch_1.pth']),
        ('epoch_2.pth', ['epoch_1.pth', 'epoch_2.pth']),
        ('epoch_3.pth', ['epoch_2.pth', 'epoch_3.pth']),
    ]
    assert names(tmp_path / 'run') == ['epoch_3.pth']
    assert runner.message_hub.get_info('keep_ckpt_ids') == [3]
    hooks = [hook for hook in runner.hooks if isinstance(hook, MMEngineCheckpointHook)]
    assert [type(hook) for hook in hooks] == [CheckpointHook]


def test_the_best_one_too(small_config, tmp_path, saved):
    cfg = config(small_config, save_best='rising/value', rule='greater')
    cfg.val_evaluator = dict(type='mixae.RisingMetric')
    launch.train(cfg, pretrained='scratch')
    best = [(name, [n for n in there if 'best' in n]) for name, there in saved if 'best' in name]
    first, second, third = (f'best_rising_value_epoch_{epoch}.pth' for epoch in (1, 2, 3))
    assert best == [(first, [first]), (second, [first, second]), (third, [second, third])]
    assert [name for name in names(tmp_path / 'run') if 'best' in name] == [third]


def test_a_kill_while_writing_leaves_the_earlier_one(small_config, tmp_path, monkeypatch):
    """The worst moment: everything is written, nothing has its name."""
    real = os.replace

    def kill(source, target):
        if str(target).endswith('epoch_2.pth'):
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, 'replace', kill)
    with pytest.raises(KeyboardInterrupt):
        launch.train(config(small_config, max_keep_ckpts=1), pretrained='scratch')
    assert latest_checkpoint(tmp_path / 'run').name == 'epoch_1.pth'


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(small_config, tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace

    def note_sync(descriptor):
        done.append(('sync', Path(os.readlink(f'/proc/self/fd/{descriptor}')).name))
        fsync(descriptor)

    def note_replace(source, target):
        done.append(('name', Path(target).name))
        replace(source, target)

    monkeypatch.setattr(os, 'fsync', note_sync)
    monkeypatch.setattr(os, 'replace', note_replace)
    cfg = small_config('mae/vitt_cifar10_2000e.py', epochs=1)
    launch.train(cfg)
    at = done.index(('name', 'epoch_1.pth'))
    assert done[at - 1][0] == 'sync' and done[at - 1][1].endswith('.partial.pth')
    assert done[at + 1] == ('sync', 'run')
