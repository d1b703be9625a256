"""Training by tools/train.py and tools/dist_train.sh: kills, resumes, processes, bf16."""

import re

import pytest
import torch

from mixae.checkpoints.read import read_checkpoint
from mixae.engine.work_dir import checkpoints
from tests.states import same, snapshot

MIXEDAE = 'configs/mixedae/vitt_cifar10_2000e.py'
STEPS = 6  # 48 images in batches of 8


@pytest.mark.parametrize('workers', [0, pytest.param(2, marks=pytest.mark.slow)])
def test_kill_and_resume_give_bit_for_bit_what_a_straight_run_gives(
    tool, options, with_plugins, tmp_path, workers
):
    options['train_dataloader.num_workers'] = workers
    straight, killed = tmp_path / 'straight', tmp_path / 'killed'
    tool('train.py', MIXEDAE, '--work-dir', straight, options=options)
    kill = options | {
        'default_hooks.kill.type': 'mixae.KillHook',
        'default_hooks.kill.at': STEPS + 3,
    }
    tool('train.py', with_plugins(MIXEDAE), '--work-dir', killed, options=kill, status=-9)
    assert [p.name for p in checkpoints(killed)] == ['epoch_1.pth']
    tool('train.py', MIXEDAE, '--work-dir', killed, '--resume', options=options)
    assert same(snapshot(killed / 'epoch_2.pth'), snapshot(straight / 'epoch_2.pth'))
    # A test that cannot fail proves nothing: the second epoch did change the weights.
    assert not same(snapshot(killed / 'epoch_1.pth')[0], snapshot(killed / 'epoch_2.pth')[0])


def effective(output):
    found = re.search(r'Effective batch (\d+) = .*; lr ([\d.e-]+) = base_lr', output)
    assert found, output[-3000:]
    return int(found[1]), float(found[2])


def test_one_and_two_processes_have_the_same_losses_and_gradients(
    tool, options, with_plugins, tmp_path
):
    """Images, augmentation, groups and masks fixed by image; the total batch is 16."""
    results, printed = [], []
    for processes in (1, 2):
        dump = tmp_path / f'{processes}.pt'
        fixed = options | {
            'model.type': 'mixae.FixedMixedAE',
            'train_dataloader.batch_size': 16 // processes,
            'train_dataloader.sampler.type': 'mixae.ConsecutiveSampler',
            'train_dataloader.sampler.total_batch': 16,
            'default_hooks.dump.type': 'mixae.DumpHook',
            'default_hooks.dump.path': dump,
            'train_cfg.max_epochs': 1,
        }
        args = with_plugins(MIXEDAE), '--work-dir', tmp_path / f'run{processes}'
        if processes == 1:
            done = tool('train.py', *args, options=fixed)
        else:
            done = tool('dist_train.sh', args[0], 2, *args[1:], options=fixed)
        printed.append(effective(done.stdout))
        results.append(torch.load(dump, weights_only=True))
    one, two = results
    assert printed[0] == printed[1] == (16, pytest.approx(1.5e-4 * 16 / 256))
    assert len(one['losses']) == len(two['losses']) == 2
    for mine, theirs in zip(one['losses'], two['losses'], strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)
        assert 'loss_contrast' in mine
    for mine, theirs in zip(one['gradients'], two['gradients'], strict=True):
        assert mine.keys() == theirs.keys()
        for key in mine:
            difference = (mine[key] - theirs[key]).norm() / mine[key].norm().clamp_min(1e-8)
            assert difference < 1e-4, key


@pytest.mark.slow
def test_more_processes_are_a_larger_batch_at_its_rate(tool, options, tmp_path):
    done = tool('dist_train.sh', MIXEDAE, 2, '--work-dir', tmp_path / 'run', options=options)
    assert effective(done.stdout) == (16, pytest.approx(1.5e-4 * 16 / 256))


@pytest.mark.data
def test_the_line_our_users_run_on_real_images(tool, real_data, tmp_path):
    """tools/dist_train.sh configs/mixedae/vitb_800e.py, small, by two processes on ImageNet."""
    classes = sorted(p.name for p in (real_data / 'mini-imagenet' / 'train').iterdir())
    options = {
        'train_dataloader.dataset.dataset.data_root': real_data / 'mini-imagenet',
        'train_dataloader.dataset.dataset.classes': f'[{",".join(classes)}]',
        'train_dataloader.dataset.subset': 48,
        'train_dataloader.batch_size': 8,
        'train_dataloader.num_workers': 0,
        'model.backbone.arch': 'ti',
        'model.backbone.img_size': 32,
        'model.backbone.patch_size': 8,
        'model.neck.decoder_depth': 1,
        'train_cfg.max_epochs': 1,
        'default_hooks.logger.interval': 1,
    }
    done = tool(
        'dist_train.sh',
        'configs/mixedae/vitb_800e.py',
        2,
        '--work-dir',
        tmp_path / 'run',
        options=options,
    )
    assert effective(done.stdout)[0] == 16
    assert re.search(r'Epoch\(train\).*\[1\]\[3/3\].*loss_contrast', done.stdout)
    told = read_checkpoint(tmp_path / 'run' / 'epoch_1.pth')['mixae']
    assert (told['images_seen'], told['device_count']) == (48, 2)


@pytest.mark.slow
def test_amp_computes_in_bf16_on_a_cpu(tool, options, tmp_path):
    losses = {}
    for flags in ([], ['--amp']):
        done = tool(
            'train.py',
            MIXEDAE,
            '--work-dir',
            tmp_path / f'run{len(flags)}',
            *flags,
            options=options | {'train_cfg.max_epochs': 1, 'default_hooks.logger.interval': 1},
        )
        losses[bool(flags)] = [float(x) for x in re.findall(r'loss_recon: ([\d.]+)', done.stdout)]
        told = (tmp_path / f'run{len(flags)}' / 'vitt_cifar10_2000e.py').read_text()
        assert ("type='mixae.AmpOptimWrapper'" in told) is bool(flags)
    assert losses[True] == pytest.approx(losses[False], rel=0.02)
    assert losses[True] != losses[False]
