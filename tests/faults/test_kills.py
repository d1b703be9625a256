"""Runs that are killed at random moments and resumed end in the same bits as one that was not.

``MIXAE_KILLS`` sets the kills per kind of run (2 by default); docs/reliability.md has the figures
of a campaign. Each kind trains a small config of digit scenes to its end twice: once left alone,
once killed (SIGKILL to all of its processes) at random moments and resumed.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mixae.checkpoints.read import read_checkpoint

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get('MIXAE_KILLS', 2))
EPOCHS = 4
SMALL = ['train_dataloader.dataset.subset=256', f'train_cfg.max_epochs={EPOCHS}', 'warmup_epochs=1']
VALIDATED = ['val_dataloader.dataset.subset=50']
SCENES = [
    'train_dataloader.dataset.indices=24',
    'train_dataloader.batch_size=4',
    'val_dataloader.dataset.indices=8',
    f'train_cfg.max_epochs={EPOCHS}',
    'warmup_iters=2',
]
TRANSFER = 'configs/transfer/digit_scenes/'
KINDS = {
    'mae': ('configs/mae/vitmini_digits_12e.py', SMALL),
    'mixedae': ('configs/mixedae/vitmini_digits_12e.py', SMALL),
    'imae': ('configs/imae/vitmini_digits_6e.py', [*SMALL, 'model.distill=None']),
    'finetune': (f'{TRANSFER}vitmini_scratch.py', [*SMALL, *VALIDATED]),
    'detection': (f'{TRANSFER}vitmini_detection.py', SCENES),
    'segmentation': (f'{TRANSFER}vitmini_segmentation.py', SCENES),
    'two_processes': ('configs/mixedae/vitmini_digits_12e.py', SMALL),
}


def command(kind: str, folder: Path, *more: str) -> list[str]:
    config, options = KINDS[kind]
    tool = [sys.executable, str(ROOT / 'tools/train.py'), config]
    if kind == 'two_processes':
        tool = ['bash', str(ROOT / 'tools/dist_train.sh'), config, '2']
    if config.startswith(TRANSFER):
        more = (*more, *(() if '--resume' in more else ('--pretrained', 'scratch')))
    return [*tool, '--work-dir', str(folder), *more, '--cfg-options', *options]


def start(words: list[str], log: Path, port: int) -> subprocess.Popen:
    environ = os.environ | dict(OMP_NUM_THREADS='1', PORT=str(port), PYTHON=sys.executable)
    with open(log, 'ab') as file:
        return subprocess.Popen(
            words, cwd=ROOT, env=environ, stdout=file, stderr=file, start_new_session=True
        )


def run_to_the_end(words: list[str], log: Path, port: int) -> float:
    began = time.monotonic()
    code = start(words, log, port).wait()
    assert code == 0, log.read_text()[-3000:]
    return time.monotonic() - began


def kill_after(words: list[str], log: Path, port: int, seconds: float) -> bool:
    """Kill all processes of a run after a while; False if it had ended before."""
    process = start(words, log, port)
    try:
        code = process.wait(seconds)
        assert code == 0, log.read_text()[-3000:]
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def bits(folder: Path) -> dict:
    """All tensors of the last checkpoint, and the metrics of the records."""
    newest = max(folder.glob('*_*.pth'), key=lambda p: int(p.stem.split('_')[-1]))
    content = read_checkpoint(newest)
    tensors = {}

    def collect(node, path):
        if isinstance(node, torch.Tensor):
            tensors[path] = node
        elif isinstance(node, dict):
            for key, value in node.items():
                collect(value, f'{path}.{key}')
        elif isinstance(node, list | tuple):
            for index, value in enumerate(node):
                collect(value, f'{path}[{index}]')

    for part in ('state_dict', 'optimizer'):
        collect(content[part], part)
    records = [json.loads(p.read_text()) for p in (folder / 'records').glob('*.record.json')]
    metrics = [{k: v['value'] for k, v in record['metrics'].items()} for record in records]
    return dict(name=newest.name, tensors=tensors, metrics=metrics)


@pytest.mark.parametrize('kind', KINDS)
def test_killed_runs_end_in_the_same_bits(kind, tmp_path, record_property):
    draw = random.Random(f'{kind} {os.environ.get("MIXAE_KILLS_SEED", 0)}')
    port = 29600 + list(KINDS).index(kind)
    alone, killed = tmp_path / 'alone', tmp_path / 'killed'
    seconds = run_to_the_end(command(kind, alone), tmp_path / 'alone.log', port)
    kills = 0
    while kills < KILLS:
        resume = ['--resume'] if list(killed.glob('*_*.pth')) else []
        words = command(kind, killed, *resume)
        if kill_after(words, tmp_path / 'killed.log', port, draw.uniform(0.3, 1.1) * seconds):
            kills += 1
        else:  # it ended: once more from the start
            expected, found = bits(alone), bits(killed)
            assert_same(expected, found)
            killed = tmp_path / f'killed_{kills}'
    resume = ['--resume'] if list(killed.glob('*_*.pth')) else []
    run_to_the_end(command(kind, killed, *resume), tmp_path / 'killed.log', port)
    assert_same(bits(alone), bits(killed))
    record_property('kills', kills)


def assert_same(expected: dict, found: dict) -> None:
    assert found['name'] == expected['name']
    assert found['tensors'].keys() == expected['tensors'].keys()
    for path, tensor in expected['tensors'].items():
        assert torch.equal(tensor, found['tensors'][path]), path
    assert found['metrics'] == expected['metrics']
