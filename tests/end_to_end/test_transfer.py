"""Pre-train, then every protocol from the checkpoint as it was saved, by the tools."""

import json

import pytest

MIXEDAE = 'configs/mixedae/vitt_cifar10_2000e.py'


def classification(root):
    """What makes a CIFAR transfer config small."""
    values = {'model.backbone.patch_size': 8, 'num_classes': 4}
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        values |= {
            f'{loader}.dataset.dataset.data_root': root,
            f'{loader}.batch_size': 8,
            f'{loader}.num_workers': 0,
        }
    return values | {
        'val_evaluator.topk': '(1,)',
        'test_evaluator.topk': '(1,)',
        'train_cfg.max_epochs': 1,
        'optim_wrapper.type': 'OptimWrapper',
    }


def probing(root):
    return {
        k: v
        for loader in ('test_dataloader', 'train_features')
        for k, v in {
            'model.backbone.patch_size': 8,
            f'{loader}.dataset.dataset.data_root': root,
            f'{loader}.num_workers': 0,
        }.items()
    }


def record(folder):
    (path,) = (folder / 'records').glob('*.json')
    return json.loads(path.read_text())


@pytest.fixture
def checkpoint(tool, options, tmp_path):
    options['train_cfg.max_epochs'] = 1
    tool('train.py', MIXEDAE, '--work-dir', tmp_path / 'pretrain', options=options)
    return tmp_path / 'pretrain' / 'epoch_1.pth'


@pytest.mark.slow
def test_every_protocol_starts_from_the_checkpoint_as_saved(
    tool, checkpoint, image_folder, tmp_path
):
    config = 'configs/transfer/cifar/cifar10_vitt_{}.py'
    small = classification(image_folder)
    runs = dict(
        finetune=('train.py', '--pretrained', checkpoint),
        scratch=('train.py',),
        linear=('test.py', checkpoint),
        knn=('test.py', checkpoint),
    )
    for task, (name, *args) in runs.items():
        folder = tmp_path / task
        overrides = small if name == 'train.py' else probing(image_folder)
        done = tool(name, config.format(task), *args, '--work-dir', folder, options=overrides)
        told = record(folder)
        assert told['task'] == task
        assert told['method'] == ('scratch' if task == 'scratch' else 'mixedae')
        if task != 'scratch':
            assert 'Loaded the encoder of' in done.stdout
            assert told['pretraining']['images_seen'] == 48
    # Testing the fine-tuned checkpoint gives the number that training ended with.
    tool(
        'test.py',
        config.format('finetune'),
        tmp_path / 'finetune' / 'epoch_1.pth',
        '--work-dir',
        tmp_path / 'test',
        options={k: v for k, v in small.items() if not k.startswith(('train', 'val', 'optim'))},
    )
    assert record(tmp_path / 'test')['metrics'] == record(tmp_path / 'finetune')['metrics']


def test_knn_from_the_checkpoint_as_saved(tool, checkpoint, image_folder, tmp_path):
    tool(
        'test.py',
        'configs/transfer/cifar/cifar10_vitt_knn.py',
        checkpoint,
        '--work-dir',
        tmp_path / 'knn',
        options=probing(image_folder),
    )
    told = record(tmp_path / 'knn')
    assert (told['task'], told['method']) == ('knn', 'mixedae')
    assert 0 <= told['metrics']['accuracy/top1']['value'] <= 100
