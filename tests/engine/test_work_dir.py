"""A work directory belongs to one training run at a time, and to its earlier run until replaced."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mixae.engine import launch
from mixae.engine.hooks.topk_accuracy import CURVE_FILE, read_curve
from mixae.engine.work_dir import LOCK, checkpoints, set_aside
from mixae.errors import ConfigError, DataError, NotFiniteError
from mixae.files import lock_file
from mixae.registry import HOOKS

MIXEDAE = 'mixedae/vitt_cifar10_2000e.py'
FINETUNE = 'transfer/cifar/cifar10_vitt_finetune.py'
HOLD = (
    'import sys; from mixae.files import lock_file; file = lock_file(sys.argv[1]); '
    "file.write('process 7 on node'); file.flush(); print('held', flush=True); {}"
)


def hold(path: Path, then: str = 'sys.stdin.read()') -> subprocess.Popen:
    """Another process that holds a lock."""
    process = subprocess.Popen(
        [sys.executable, '-c', HOLD.format(then), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == 'held\n'
    return process


def test_a_lock_is_held_by_one_process_and_ends_with_it(tmp_path):
    path = tmp_path / 'lock'
    with hold(path) as other:
        with pytest.raises(BlockingIOError):
            lock_file(path)
        other.kill()
        other.wait()
        lock_file(path).close()


def test_a_child_does_not_hold_its_parents_lock(tmp_path):
    """A killed run's data loading workers live on for seconds."""
    path = tmp_path / 'lock'
    fork = 'import os, time; os.fork() or time.sleep(60); sys.stdin.read()'
    with hold(path, fork) as other:
        other.kill()
        other.wait()
        lock_file(path).close()


def test_a_second_run_in_the_same_folder_is_refused(small_config, tmp_path):
    run = tmp_path / 'run'
    run.mkdir()
    with hold(run / LOCK) as other:
        with pytest.raises(ConfigError, match=r'Another run is at work in .*process 7 on node'):
            launch.train(small_config(MIXEDAE, epochs=1))
        assert sorted(p.name for p in run.iterdir()) == [LOCK]
        other.kill()
    launch.train(small_config(MIXEDAE, epochs=1))
    assert (run / LOCK).read_text().startswith(f'process {os.getpid()} on ')


def test_the_lock_is_let_go_of_when_a_run_ends(small_config, tmp_path):
    launch.train(small_config(MIXEDAE, epochs=1))
    with hold(tmp_path / 'run' / LOCK) as other:
        other.kill()


def test_an_evaluation_needs_no_lock(small_config, tmp_path):
    run = tmp_path / 'run'
    run.mkdir()
    with hold(run / LOCK) as other:
        launch.test(small_config('transfer/cifar/cifar10_vitt_knn.py'), 'scratch')
        other.kill()


@pytest.mark.parametrize('kind', ['file', 'not a folder'])
def test_a_folder_that_cannot_be_used_is_named(small_config, tmp_path, kind):
    (tmp_path / 'taken').write_text('')
    folder = tmp_path / ('taken' if kind == 'file' else 'taken/below')
    with pytest.raises(ConfigError, match=f'{folder} cannot be used as work directory'):
        launch.train(small_config(MIXEDAE, folder))


def test_a_relative_folder_is_below_the_current_one(small_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    launch.train(small_config(MIXEDAE, 'runs/a', epochs=1))
    assert (tmp_path / 'runs/a/epoch_1.pth').is_file()
    runner = launch.train(small_config(MIXEDAE, './runs/a', epochs=1), resume=True)
    assert runner.epoch == 1 and not list(tmp_path.glob('runs/a/runs'))


# --overwrite.


@HOOKS.register_module()
class NotFiniteAtOnceHook(Hook):
    """Makes the first loss NaN."""

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        data_batch['inputs'] = data_batch['inputs'] * torch.nan


@pytest.fixture
def earlier(small_config, tmp_path):
    """A run of one epoch with its record, and the content of its files."""
    folder = tmp_path / 'run'
    launch.train(small_config(FINETUNE, folder, epochs=1), pretrained='scratch')
    (folder / 'best_top1_epoch_1.pth').write_bytes(b'best')
    (folder / CURVE_FILE).write_text('{"iter": 1}\n')
    kept = [*folder.glob('*.pth'), *folder.glob('records/*'), folder / CURVE_FILE]
    assert len(kept) == 4
    return {path: path.read_bytes() for path in kept}


def overwrite(cfg, **options):
    cfg.merge_from_dict(options)
    return launch.train(cfg, pretrained='scratch', overwrite=True)


@pytest.mark.parametrize(
    'options, error',
    [
        ({'model.backbone.patch_size': 5}, ConfigError),
        ({'train_dataloader.dataset.dataset.data_root': '/nowhere'}, DataError),
        ({'train_dataloader.batch_size': 64}, ConfigError),
        ({'custom_hooks': [dict(type='mixae.NotFiniteAtOnceHook')]}, NotFiniteError),
    ],
)
def test_an_earlier_run_is_whole_until_the_first_step_has_succeeded(
    earlier, small_config, options, error
):
    with pytest.raises(error):
        overwrite(small_config(FINETUNE), **options)
    assert {path: path.read_bytes() for path in earlier} == earlier


def test_what_an_earlier_run_left_is_set_aside(earlier, small_config, tmp_path):
    run = tmp_path / 'run'
    overwrite(small_config(FINETUNE, epochs=2))
    assert [path.name for path in checkpoints(run)] == ['epoch_1.pth', 'epoch_2.pth']
    assert len(list(run.glob('records/*.record.json'))) == 1
    (aside,) = run.glob('replaced_*')
    found = {path.name.removesuffix('.replaced'): path.read_bytes() for path in aside.iterdir()}
    assert found == {path.name: content for path, content in earlier.items()}
    assert not list(aside.glob('*.record.json'))  # a table would read it


def test_a_new_runs_curve_begins_anew(small_config, tmp_path):
    run = tmp_path / 'run'
    cfg = small_config(MIXEDAE, epochs=1)
    cfg.default_hooks.topk_accuracy.interval = 2
    launch.train(cfg)
    before = read_curve(run / CURVE_FILE)
    cfg = small_config(MIXEDAE, epochs=1)
    cfg.default_hooks.topk_accuracy.interval = 3
    launch.train(cfg, overwrite=True)
    assert [row['iter'] for row in before] == [1, 2, 4, 6]
    assert [row['iter'] for row in read_curve(run / CURVE_FILE)] == [1, 3, 6]
    assert read_curve(next(run.glob(f'replaced_*/{CURVE_FILE}'))) == before


def test_nothing_to_set_aside(tmp_path):
    assert set_aside(tmp_path) is None and not list(tmp_path.iterdir())
