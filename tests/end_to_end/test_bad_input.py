"""What a person gets wrong ends in one line that names it, with exit status 1."""

import shutil

import pytest
import torch

from mixae.engine import launch
from mixae.engine.tool import run_tool

MIXEDAE = 'configs/mixedae/vitt_cifar10_2000e.py'
ROOT = 'train_dataloader.dataset.dataset.data_root'


def error_line(output):
    assert 'Traceback' not in output, output[-3000:]
    errors = [line for line in output.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1, output[-3000:]
    assert output.strip().endswith(errors[0])
    return errors[0]


@pytest.fixture
def cases(tmp_path):
    """case: (overrides, whether to resume, what the line must name)."""
    empty, none = tmp_path / 'empty', tmp_path / 'none'
    (empty / 'train').mkdir(parents=True)
    return {
        'missing data': ({ROOT: str(none)}, False, [str(none), 'data_root']),
        'empty data': ({ROOT: str(empty)}, False, [str(empty), 'data_root']),
        'batch': ({'train_dataloader.batch_size': 10}, False, ['batch of 10', 'groups of 4']),
        'mode': ({'model.attention.mode': 'tpok'}, False, ["'tpok'", 'global, topk, masked']),
        'resume': ({}, True, ['no checkpoint to resume', str(tmp_path / 'run')]),
        'resume of no file': ({}, 'no.pth', ['no.pth']),
        'arch': ({'model.backbone.arch': 'tyni'}, False, ["'tyni'", 'tiny']),
        'no step': ({'train_dataloader.batch_size': 64}, False, ['48 training images', '64']),
    }


@pytest.mark.parametrize(
    'case',
    [
        'missing data',
        'empty data',
        'batch',
        'mode',
        'resume',
        'resume of no file',
        'arch',
        'no step',
    ],
)
def test_known_at_start(cases, small_config, tmp_path, capfd, case):
    """As tools/train.py does it, but in this process."""
    overrides, resume, names = cases[case]
    cfg = small_config('mixedae/vitt_cifar10_2000e.py', tmp_path / 'run')
    if 'model.backbone.arch' in overrides:
        cfg.model.backbone.arch = overrides.pop('model.backbone.arch')
    cfg.merge_from_dict(overrides)
    with pytest.raises(SystemExit) as stop:
        run_tool(lambda: launch.train(cfg, resume=resume))
    assert stop.value.code == 1
    line = error_line(capfd.readouterr().err)
    assert all(name in line for name in names), line


SAMPLER, SUBSET = 'train_dataloader.sampler', 'train_dataloader.dataset.subset'
WITH_LABEL = 'train_dataloader.dataset.dataset.with_label'
PAIRS = {
    'no teacher': ({'model.teacher.checkpoint': None}, ['no teacher checkpoint', 'model.distill']),
    'lost teacher': ({}, ['teacher', 'mae/vitt_cifar10_2000e/epoch_2000.pth', 'configs/mae']),
    'share': ({f'{SAMPLER}.same_class_ratio': 1.5}, ['same_class_ratio=1.5', '[0, 1]']),
    'share in words': (
        {f'{SAMPLER}.same_class_ratio': 'half'},
        ["same_class_ratio='half'", 'expects a number'],
    ),
    'no labels': ({f'{SAMPLER}.same_class_ratio': 0.5, WITH_LABEL: False}, ['one class label']),
    'no file': (
        {f'{SAMPLER}.same_class_ratio': 0.5, f'{SAMPLER}.pseudo_labels': 'no.npz'},
        ['no.npz', 'make_pseudo_labels.py'],
    ),
    'subordinate': (
        {'model.mix.beta': None, 'model.mix.subordinate': 0.7},
        ["'subordinate': 0.7", '[0, 0.5]'],
    ),
    'unknown mix': ({'model.mix.share': 0.3}, ["'share': 0.3", 'exactly one']),
    'one image': ({SUBSET: 1}, ['1 image', 'at least 2']),
    'odd batch': ({'train_dataloader.batch_size': 7}, ['even batch_size, got 7']),
}


@pytest.mark.parametrize('case', PAIRS)
def test_known_at_start_of_imae(small_config, tmp_path, capfd, case):
    overrides, names = PAIRS[case]
    cfg = small_config('imae/vitt_cifar10_2000e.py', tmp_path / 'run')
    if 'teacher' not in case:
        cfg.model.distill = None
    cfg.merge_from_dict(overrides)
    with pytest.raises(SystemExit) as stop:
        run_tool(lambda: launch.train(cfg))
    assert stop.value.code == 1
    line = error_line(capfd.readouterr().err)
    assert all(name in line for name in names), line
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_missing_data_by_the_tool(tool, options, tmp_path):
    options[ROOT] = tmp_path / 'none'
    done = tool('train.py', MIXEDAE, '--work-dir', tmp_path / 'run', options=options, status=1)
    assert str(tmp_path / 'none') in error_line(done.stdout)


@pytest.mark.slow
def test_no_such_config(tool):
    assert 'no config file nowhere.py' in error_line(
        tool('train.py', 'nowhere.py', status=1).stdout
    )


def test_a_checkpoint_of_another_architecture(tool, image_folder, tmp_path):
    path = tmp_path / 'other.pth'
    torch.save(dict(state_dict={'backbone.cls_token': torch.zeros(1, 1, 8)}), path)
    done = tool(
        'test.py',
        'configs/transfer/cifar/cifar10_vitt_knn.py',
        path,
        '--work-dir',
        tmp_path / 'run',
        options={
            f'{loader}.dataset.dataset.data_root': image_folder
            for loader in ('test_dataloader', 'train_features')
        },
        status=1,
    )
    line = error_line(done.stdout)
    assert str(path) in line
    assert 'cls_token: (1, 1, 8) in the checkpoint, (1, 1, 192) in the model' in line
    assert 'missing keys' in line


@pytest.fixture
def damaged(image_folder, tmp_path):
    root = tmp_path / 'damaged'
    shutil.copytree(image_folder, root)
    for split in ('train', 'test'):
        (root / split / 'flower' / '3.jpg').write_bytes(b'this is no picture')
    return root


def test_training_goes_on_past_an_unreadable_image(tool, options, damaged, tmp_path):
    options |= {ROOT: damaged, 'train_cfg.max_epochs': 1}
    done = tool('train.py', MIXEDAE, '--work-dir', tmp_path / 'run', options=options)
    warned = [x for x in done.stdout.splitlines() if 'cannot be read as an image' in x]
    assert len(warned) == 1
    assert str(damaged / 'train' / 'flower' / '3.jpg') in warned[0]
    assert (tmp_path / 'run' / 'epoch_1.pth').exists()


@pytest.mark.parametrize('workers', [2, pytest.param(0, marks=pytest.mark.slow)])
def test_evaluation_stops_at_an_unreadable_image(tool, damaged, tmp_path, workers):
    options = {'model.backbone.patch_size': 8}
    for loader in ('test_dataloader', 'train_features'):
        options[f'{loader}.dataset.dataset.data_root'] = damaged
        options[f'{loader}.num_workers'] = workers
    done = tool(
        'test.py',
        'configs/transfer/cifar/cifar10_vitt_knn.py',
        'scratch',
        '--work-dir',
        tmp_path / 'run',
        options=options,
        status=1,
    )
    line = error_line(done.stdout)
    assert f'{damaged}/train/flower/3.jpg cannot be read as an image' in line
