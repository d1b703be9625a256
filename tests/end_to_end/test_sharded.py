"""Optimiser states spread over processes (ZeRO): the same training, resumed on another number."""

import pytest
import torch

from mixae.checkpoints.read import read_checkpoint

pytestmark = pytest.mark.slow
MIXEDAE = 'configs/mixedae/vitt_cifar10_2000e.py'
ZERO = {
    'optim_wrapper.optimizer.type': 'ZeroRedundancyOptimizer',
    'optim_wrapper.optimizer.optimizer_type': 'AdamW',
}


def snapshot(path):
    content = read_checkpoint(path)
    return content['state_dict'], content['optimizer']['state']


@pytest.fixture
def train(tool, options, tmp_path, with_plugins):
    """Trains MixedAE on batches of 16 that no number of processes changes."""

    def run(folder, processes, *args, **more):
        fixed = options | {
            'model.type': 'mixae.FixedMixedAE',
            'model.backbone.with_cp': True,
            'train_dataloader.batch_size': 16 // processes,
            'train_dataloader.sampler.type': 'mixae.ConsecutiveSampler',
            'train_dataloader.sampler.total_batch': 16,
        }
        tool_name = ('train.py',) if processes == 1 else ('dist_train.sh',)
        count = () if processes == 1 else (processes,)
        where = '--work-dir', tmp_path / folder
        config = with_plugins(MIXEDAE)
        tool(*tool_name, config, *count, *where, *args, options=fixed | more)
        return tmp_path / folder

    return run


def distance(a, b) -> float:
    """The largest difference of any number in two states."""
    if isinstance(a, torch.Tensor):
        return float((a.double() - b.double()).abs().max()) if a.numel() else 0.0
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        return max((distance(a[k], b[k]) for k in a), default=0.0)
    return 0.0


def test_two_processes_compute_what_one_does_and_what_unsharded_ones_do(train):
    one = snapshot(train('one', 1) / 'epoch_2.pth')
    plain = snapshot(train('plain', 2) / 'epoch_2.pth')
    zero = snapshot(train('zero', 2, **ZERO) / 'epoch_2.pth')
    assert distance(plain[0], zero[0]) == 0 and distance(plain[1], zero[1]) == 0
    assert distance(one[0], zero[0]) < 1e-5
    # The rate is small in so short a run: the averages of the gradients say more.
    for mine, theirs in zip(one[1].values(), zero[1].values(), strict=True):
        difference = (mine['exp_avg'] - theirs['exp_avg']).norm()
        assert difference < 1e-4 * mine['exp_avg'].norm().clamp_min(1e-7)


def test_a_run_of_two_processes_goes_on_with_four(train):
    straight = snapshot(train('straight', 2, **ZERO) / 'epoch_2.pth')
    folder = train('resumed', 2, **ZERO)
    (folder / 'epoch_2.pth').unlink()
    first = snapshot(folder / 'epoch_1.pth')
    train('resumed', 4, '--resume', **ZERO)
    last = snapshot(folder / 'epoch_2.pth')
    assert distance(straight[0], last[0]) < 1e-5 and distance(first[0], last[0]) > 0
    for mine, theirs in zip(straight[1].values(), last[1].values(), strict=True):
        difference = (mine['exp_avg'] - theirs['exp_avg']).norm()
        assert difference < 1e-4 * mine['exp_avg'].norm().clamp_min(1e-7)
        assert mine['step'] == theirs['step']
