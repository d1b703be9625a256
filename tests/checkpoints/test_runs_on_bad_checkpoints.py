"""A run on a checkpoint that is not what it says stops in one line, before it costs anything."""

import os
import shutil

import pytest
import torch

from mixae.engine import launch
from mixae.engine.work_dir import latest_checkpoint
from mixae.errors import CheckpointError

MAE = 'mae/vitt_cifar10_2000e.py'
TUNE = 'transfer/cifar/cifar10_vitt_finetune.py'
KNN = 'transfer/cifar/cifar10_vitt_knn.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('runs')


@pytest.fixture
def pretrained(folder, small_config):
    """The work directory of an MAE after one of two epochs; trained once."""
    if not (folder / 'mae').exists():
        launch.train(small_config(MAE, folder / 'mae'))
        (folder / 'mae' / 'epoch_2.pth').unlink()
    return folder / 'mae'


@pytest.fixture
def tuned(folder, small_config):
    """A checkpoint of a fine-tuned classifier; trained once."""
    if not (folder / 'tune').exists():
        launch.train(small_config(TUNE, folder / 'tune', epochs=1), pretrained='scratch')
    return folder / 'tune' / 'epoch_1.pth'


@pytest.fixture
def saved(tmp_path):
    """A function that saves a checkpoint with changes to a file of its own."""

    def save(source, change):
        content = torch.load(source, weights_only=False)
        content = change(content) or content
        path = tmp_path / 'changed' / 'epoch_1.pth'
        path.parent.mkdir(exist_ok=True)
        torch.save(content, path)
        return path

    return save


def integers(content):
    content['state_dict'] = {k: (9 * v).long() for k, v in content['state_dict'].items()}


def zeros(content):
    state = content['state_dict']
    content['state_dict'] = {k: v * 0 if k.startswith('backbone.') else v for k, v in state.items()}


def no_numbers(content):
    content['state_dict']['backbone.cls_token'] *= torch.nan


def account(**changes):
    return lambda content: content['mixae'].update(changes)


@pytest.mark.parametrize(
    'change, words',
    [
        (integers, 'no floating-point numbers'),
        (zeros, 'nothing but zeros'),
        (no_numbers, 'cls_token .* not finite'),
        (account(seconds='long'), 'seconds'),
        (account(origin=dict(method='mae')), 'origin'),
        (lambda content: content.update(mixae=None), 'None is not'),
    ],
)
@pytest.mark.parametrize('kind', ['tuned', 'pretrained'])
def test_no_evaluation_and_no_record(kind, change, words, saved, small_config, request, tmp_path):
    source = request.getfixturevalue(kind)
    path = saved(source if source.is_file() else source / 'epoch_1.pth', change)
    with pytest.raises(CheckpointError, match=words) as caught:
        launch.test(small_config(TUNE if kind == 'tuned' else KNN), str(path))
    assert str(path) in str(caught.value) and str(caught.value).isprintable()
    assert not (tmp_path / 'run' / 'records').exists()


def test_the_unchanged_checkpoint_has_one(tuned, small_config, tmp_path):
    launch.test(small_config(TUNE), str(tuned))
    assert list((tmp_path / 'run' / 'records').iterdir())


def bare(content):
    return content['state_dict']


def without(key):
    return lambda content: {k: v for k, v in content.items() if k != key}


@pytest.mark.parametrize(
    'change, words',
    [
        (bare, 'meta.epoch, meta.iter, message_hub, optimizer missing'),
        (without('meta'), 'meta.epoch, meta.iter missing'),
        (without('optimizer'), 'optimizer missing'),
        (integers, 'no floating-point numbers'),
        (account(epochs='one'), 'epochs'),
    ],
)
@pytest.mark.parametrize('by', ['file', 'folder'])
def test_no_run_goes_on(by, change, words, pretrained, saved, small_config, tmp_path):
    path = saved(pretrained / 'epoch_1.pth', change)
    if by == 'folder' and 'epochs' not in words:
        shutil.copytree(path.parent, tmp_path / 'run')
        path, resume = tmp_path / 'run' / 'epoch_1.pth', True
    else:
        resume = str(path)
    with pytest.raises(CheckpointError, match=words) as caught:
        launch.train(small_config(MAE), resume=resume)
    assert str(path) in str(caught.value) and str(caught.value).isprintable()
    assert not (tmp_path / 'run' / 'epoch_2.pth').exists()


def test_a_run_with_another_optimiser_does_not_go_on(pretrained, small_config):
    cfg = small_config(MAE)
    cfg.optim_wrapper.paramwise_cfg = None  # one group of parameters instead of two
    path = pretrained / 'epoch_1.pth'
    with pytest.raises(CheckpointError, match=f'{path} cannot be resumed'):
        launch.train(cfg, resume=str(path))


def test_a_damaged_newest_checkpoint_is_passed_over_and_named(pretrained, tmp_path, monkeypatch):
    work_dir = tmp_path / 'run'
    shutil.copytree(pretrained, work_dir)
    damaged = bytearray((work_dir / 'epoch_1.pth').read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (work_dir / 'epoch_2.pth').write_bytes(damaged)
    lines = []
    monkeypatch.setattr(
        'mixae.engine.work_dir.print_log', lambda message, **_: lines.append(message)
    )
    assert latest_checkpoint(work_dir).name == 'epoch_1.pth'
    (line,) = lines
    assert f'{work_dir}/epoch_2.pth is damaged' in line and 'passed over' in line


def test_a_planted_link_is_not_written_through(pretrained, small_config, tmp_path):
    """Neither at the checkpoint's name nor at the one that its draft had in earlier versions."""
    victim = tmp_path / 'victim'
    victim.write_text('mine')
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    for name in ('epoch_2.pth', f'.epoch_2.pth.{os.getpid()}.partial'):
        (work_dir / name).symlink_to(victim)
    cfg = small_config(MAE)
    launch.train(cfg, resume=str(pretrained / 'epoch_1.pth'))
    assert victim.read_text() == 'mine'
    assert not (work_dir / 'epoch_2.pth').is_symlink()
