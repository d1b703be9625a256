"""What the Runner knows of data and processes before and while it trains."""

import os
import signal

import pytest
from mmengine.registry import DefaultScope
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mixae.datasets.guard import GuardedPipeline
from mixae.datasets.workers import end_workers_that_lose_samples
from mixae.engine import launch
from mixae.engine.runner import MixaeRunner
from mixae.engine.tool import run_tool
from mixae.errors import ConfigError, DataError


@pytest.mark.parametrize('num_classes', [3, 10])
def test_a_classifier_for_another_number_of_classes_stops_before_training(
    small_config, tmp_path, num_classes
):
    cfg = small_config('transfer/cifar/cifar10_vitt_finetune.py')
    cfg.num_classes = num_classes
    with pytest.raises(
        ConfigError, match=rf'model.head has num_classes={num_classes}, .* 4 classes: flower, one'
    ):
        launch.train(cfg, pretrained='scratch')
    assert not list(tmp_path.glob('**/*.pth'))


def test_fewer_classes_than_topk_leave_a_record(small_config, image_folder, tmp_path):
    cfg = small_config('transfer/cifar/cifar10_vitt_finetune.py', epochs=1)
    cfg.val_evaluator.topk = (1, 5)
    launch.train(cfg, pretrained='scratch')
    assert len(list(tmp_path.glob('run/records/*.json'))) == 1


def test_every_data_loader_is_guarded(image_folder):
    dataset = dict(
        type='CustomDataset',
        data_root=str(image_folder),
        data_prefix='train',
        pipeline=[dict(type='LoadImageFromFile')],
    )
    loader = dict(dataset=dataset, sampler=dict(type='DefaultSampler'), batch_size=2)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        built = MixaeRunner.build_dataloader(loader)
        assert isinstance(built.dataset.pipeline, GuardedPipeline)
        assert MixaeRunner.build_dataloader(built) is built
        dataset['data_root'] = str(image_folder / 'none')
        with pytest.raises(DataError, match=r'CustomDataset \(data_root=.*none.*cannot be loaded'):
            MixaeRunner.build_dataloader(loader)


@pytest.mark.parametrize('trainable', [True, False])
def test_a_model_without_parameters_to_train_is_not_wrapped(monkeypatch, trainable):
    """DistributedDataParallel refuses one."""
    model = nn.Linear(2, 2).requires_grad_(trainable)
    runner = MixaeRunner.__new__(MixaeRunner)
    monkeypatch.setattr(MixaeRunner, 'distributed', True, raising=False)
    monkeypatch.setattr(
        'mmengine.runner.Runner.wrap_model', lambda self, wrapper, model: nn.Sequential(model)
    )
    runner.cfg = {}
    wrapped = runner.wrap_model(None, model)
    assert (wrapped is model) == (not trainable)


class Dies(Dataset):
    """A data set whose process is killed, as by a machine that runs out of memory."""

    def __init__(self, number):
        self.number = number

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if isinstance(self.number, int):
            os.kill(os.getpid(), self.number)
        if self.number == 'hand over':
            return CannotBeHandedOver()
        raise RuntimeError(self.number)


class CannotBeHandedOver:
    """As a tensor is where shared memory is full."""

    def __reduce__(self):
        raise RuntimeError('unable to allocate shared memory(shm) for file </torch_1>')


@pytest.mark.parametrize(
    'number, reason',
    [
        (signal.SIGKILL, 'DataLoader worker (pid'),
        (signal.SIGBUS, 'DataLoader worker (pid'),
        ('unable to allocate shared memory(shm) for file </torch_1>', 'RuntimeError: unable to al'),
        ('hand over', 'DataLoader worker (pid'),
    ],
    ids=['SIGKILL', 'SIGBUS', 'no shared memory', 'no shared memory for a sample'],
)
def test_a_loading_process_that_ends_is_one_line(number, reason, capfd):
    end_workers_that_lose_samples()
    with pytest.raises(SystemExit) as stop:
        run_tool(lambda: list(DataLoader(Dies(number), num_workers=1, collate_fn=list)))
    assert stop.value.code == 1
    output = capfd.readouterr().err
    line = output.strip().splitlines()[-1]
    assert line.startswith(f'error: a process that loads data ended ({reason}')
    assert '/dev/shm' in line and 'num_workers' in line
    assert 'Traceback' not in output


def test_a_defect_of_a_loading_process_keeps_its_traceback():
    with pytest.raises(RuntimeError, match='a defect'):
        run_tool(lambda: list(DataLoader(Dies('a defect'), num_workers=1)))
