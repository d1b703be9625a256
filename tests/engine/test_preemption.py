"""SIGTERM: the step is finished, a checkpoint saved, and the run continued to equal bits."""

import os
import signal

import pytest
import torch
from mmengine.hooks import Hook

from mixae.checkpoints.read import read_checkpoint
from mixae.engine import launch
from mixae.engine.hooks.preemption import PREEMPTED
from mixae.engine.work_dir import checkpoints, latest_checkpoint
from mixae.errors import Preempted
from mixae.registry import HOOKS
from mixae.results.record import read_record

FINETUNE = 'transfer/cifar/cifar10_vitt_finetune.py'


@HOOKS.register_module()
class TerminateHook(Hook):
    """Sends SIGTERM to its own process in a step, or in a validation."""

    def __init__(self, at: int, event: str = 'before_train_iter') -> None:
        self.at = at
        setattr(self, event, self.terminate)

    def terminate(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter == self.at:
            os.kill(os.getpid(), signal.SIGTERM)


def train(small_config, folder, resume=False, epochs=2, hook=None, **options):
    cfg = small_config(FINETUNE, folder, epochs)
    cfg.merge_from_dict(options)
    if hook:
        cfg.custom_hooks = [dict(type='mixae.TerminateHook', **hook)]
    return launch.train(cfg, pretrained='scratch', resume=resume)


@pytest.fixture
def straight(runs, small_config):
    folder = runs / 'straight'
    if not folder.exists():
        train(small_config, folder)
    return folder


def equal(a, b) -> bool:
    contents = [read_checkpoint(path) for path in (a, b)]
    states, optimisers = ([c[k] for c in contents] for k in ('state_dict', 'optimizer'))
    return str(optimisers[0]) == str(optimisers[1]) and all(
        torch.equal(states[0][k], v) for k, v in states[1].items()
    )


@pytest.mark.parametrize('at', [2, 5, 8, 11])
def test_a_preempted_run_is_continued_to_the_same_bits(straight, small_config, tmp_path, at):
    """An epoch has 6 steps: within one, at its last, and at the last of all."""
    run = tmp_path / 'run'
    with pytest.raises(Preempted, match=f'after iteration {at + 1}; {PREEMPTED} is saved') as e:
        train(small_config, run, hook=dict(at=at))
    assert e.value.exit_status == 75
    assert latest_checkpoint(run).name == PREEMPTED
    assert read_checkpoint(run / PREEMPTED)['mixae']['images_seen'] == 8 * (at + 1)
    train(small_config, run, resume=True)
    assert equal(run / 'epoch_2.pth', straight / 'epoch_2.pth')
    assert not (run / PREEMPTED).exists()
    (mine,), (theirs,) = (
        [read_record(path) for path in folder.glob('records/*.record.json')]
        for folder in (run, straight)
    )
    assert mine['metrics'] == theirs['metrics'] and mine['protocol'] == theirs['protocol']


def test_preempted_in_its_last_validation(straight, small_config, tmp_path):
    run = tmp_path / 'run'
    with pytest.raises(Preempted, match='after iteration 12'):
        train(small_config, run, hook=dict(at=12, event='before_val_iter'))
    assert not (run / 'records').exists()
    train(small_config, run, resume=True)
    (mine,), (theirs,) = (
        [read_record(path) for path in folder.glob('records/*.record.json')]
        for folder in (run, straight)
    )
    assert mine['metrics'] == theirs['metrics']


def test_gradients_are_not_left_behind(small_config, tmp_path):
    """With accumulation the run ends at a step of the optimiser."""
    with pytest.raises(Preempted, match='after iteration 6;'):
        train(
            small_config,
            tmp_path / 'run',
            hook=dict(at=3),
            **{'optim_wrapper.accumulative_counts': 3},
        )


def test_sigterm_is_as_before_after_a_run(small_config, tmp_path):
    def other(number, frame):
        raise AssertionError('not called')

    before = signal.signal(signal.SIGTERM, other)
    try:
        train(small_config, tmp_path / 'run', epochs=1)
        assert signal.getsignal(signal.SIGTERM) is other
        with pytest.raises(Preempted):
            train(small_config, tmp_path / 'second', hook=dict(at=1))
        assert signal.getsignal(signal.SIGTERM) is other
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_checkpoint_of_a_preempted_run_comes_last(tmp_path):
    for name in ('iter_20.pth', 'iter_3.pth', PREEMPTED, 'best_top1_iter_30.pth'):
        (tmp_path / name).write_bytes(b'')
    assert [p.name for p in checkpoints(tmp_path)] == ['iter_3.pth', 'iter_20.pth', PREEMPTED]
