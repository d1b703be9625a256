"""Probes on two processes give the numbers of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def run(config, checkpoint, image_folder, work_dir, processes, **more):
    """tools/test.py as a user starts it, on a narrow encoder; the metrics of its record."""
    options = {
        'model.backbone.arch': 'mini',
        'model.backbone.img_size': 32,
        'model.backbone.patch_size': 8,
    }
    for loader in ('test_dataloader', 'train_features'):
        options[f'{loader}.dataset.dataset.data_root'] = image_folder
        options |= {f'{loader}.num_workers': 0, f'{loader}.batch_size': 5}
    options |= more
    command = [str(ROOT / f'configs/transfer/cifar/{config}.py'), str(checkpoint)]
    if processes == 1:
        command = [sys.executable, str(ROOT / 'tools/test.py'), *command]
    else:
        launcher = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}']
        tool = [str(ROOT / 'tools/test.py')]
        command = [sys.executable, *launcher, *tool, *command, '--launcher', 'pytorch']
    done = subprocess.run(
        [*command, '--work-dir', str(work_dir)]
        + ['--cfg-options', *(f'{key}={value}' for key, value in options.items())],
        env=os.environ | dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES=''),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (record,) = work_dir.glob('records/*.json')
    return json.loads(record.read_text())['metrics']


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    from mixae.models import MaskedViT

    path = tmp_path_factory.mktemp('encoder') / 'epoch_1.pth'
    torch.manual_seed(0)
    encoder = MaskedViT('mini', img_size=32, patch_size=8, mask_ratio=0.75)
    encoder.init_weights()
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in encoder.state_dict().items()}), path)
    return path


SEVERAL = {
    'test_cfg.probe.k': '[20,3,100]',  # more neighbours than a process has images
    'test_cfg.probe.temperature': '[0.07,1.0]',
    'test_cfg.probe.whiten': True,
    'train_features.dataset.subset': 47,  # which two processes cannot share evenly
    'test_dataloader.dataset.subset': 23,
}


@pytest.mark.parametrize(
    'config, more',
    [('cifar10_vitt_knn', {}), ('cifar10_vitt_knn', SEVERAL), ('cifar10_vitt_linear', {})],
)
def test_two_processes_give_the_numbers_of_one(config, more, checkpoint, image_folder, tmp_path):
    one, two = (
        run(config, checkpoint, image_folder, tmp_path / str(n), processes=n, **more)
        for n in (1, 2)
    )
    assert one == two
    assert 25 < one['accuracy/top1']['value'] < 100  # 4 classes, an untrained encoder
