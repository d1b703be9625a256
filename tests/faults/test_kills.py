"""Runs that are killed at random moments and resumed end in the same bits as one that was not.

``MIXAE_KILLS`` sets the kills per kind of run (2 by default); docs/reliability.md has the figures
of a campaign. Each kind trains a small config of digit scenes to its end twice: once left alone,
once killed (SIGKILL to all of its processes) at random moments and resumed. Every second kill of a
suite is of the suite alone: its runs end by themselves.
"""

import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch

from mixae.checkpoints.read import read_checkpoint
from tests.processes import gone

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
    'suite': ('tests/faults/small_suite.py', []),
}


def command(kind: str, folder: Path) -> list[str]:
    """A run's command; it resumes what is there."""
    config, options = KINDS[kind]
    to = ['--work-dir', str(folder)]
    if kind == 'suite':
        return [sys.executable, str(ROOT / 'tools/run_suite.py'), config, *to, '--jobs', '2']
    tool = [sys.executable, str(ROOT / 'tools/train.py'), config]
    if kind == 'two_processes':
        tool = ['bash', str(ROOT / 'tools/dist_train.sh'), config, '2']
    if list(folder.glob('*_*.pth')):
        to += ['--resume']
    elif config.startswith(TRANSFER):
        to += ['--pretrained', 'scratch']
    return [*tool, *to, '--cfg-options', *options]


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


def kill_after(words: list[str], log: Path, port: int, seconds: float, alone: bool) -> bool:
    """Kill a run after a while, with all that it has started or ``alone``; False if it had ended.

    What it has started must end with it.
    """
    process = start(words, log, port)
    try:
        code = process.wait(seconds)
        assert code == 0, log.read_text()[-3000:]
        return False
    except subprocess.TimeoutExpired:
        parent = psutil.Process(process.pid)
        parent.suspend()  # it starts nothing more
        started = parent.children(recursive=True)
        for victim in [parent] if alone else [parent, *started]:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        process.wait()
        assert gone([child.pid for child in started], 60)
        return True


def bits(folder: Path) -> dict:
    """By run: all tensors of the last checkpoint, and the metrics of the records; the table."""
    tensors, metrics = {}, defaultdict(list)

    def collect(node, path):
        if isinstance(node, torch.Tensor):
            tensors[path] = node
        elif isinstance(node, dict):
            for key, value in node.items():
                collect(value, f'{path}.{key}')
        elif isinstance(node, list | tuple):
            for index, value in enumerate(node):
                collect(value, f'{path}[{index}]')

    found = [p for p in folder.rglob('*_*.pth') if not p.parent.name.startswith('replaced_')]
    found.sort(key=lambda path: int(path.stem.split('_')[-1]))
    last = {path.parent: path.relative_to(folder) for path in found}
    for path in last.values():
        content = read_checkpoint(folder / path)
        collect([content['state_dict'], content['optimizer']], str(path))
    for path in folder.rglob('*.record.json'):
        record = json.loads(path.read_text())
        values = {k: v['value'] for k, v in record['metrics'].items()}
        metrics[str(path.parent.relative_to(folder))].append(values)
    tables = [path.read_text() for path in folder.glob('table.txt')]
    return dict(names=set(last.values()), tensors=tensors, metrics=metrics, tables=tables)


@pytest.mark.parametrize('kind', KINDS)
def test_killed_runs_end_in_the_same_bits(kind, tmp_path, record_property):
    draw = random.Random(f'{kind} {os.environ.get("MIXAE_KILLS_SEED", 0)}')
    port = 29600 + list(KINDS).index(kind)
    # Before that, a single run imports; a suite has its first runs to start.
    earliest = 0.05 if kind == 'suite' else 0.3
    alone, folders = tmp_path / 'alone', (tmp_path / f'killed_{i}' for i in itertools.count())
    seconds = run_to_the_end(command(kind, alone), tmp_path / 'alone.log', port)
    expected, killed, kills = bits(alone), next(folders), 0
    while kills < KILLS:
        moment = draw.uniform(earliest, 1.1) * seconds
        only = kind == 'suite' and kills % 2 == 1
        if kill_after(command(kind, killed), tmp_path / 'killed.log', port, moment, only):
            kills += 1
        else:  # it ended: once more from the start
            assert_same(expected, bits(killed))
            killed = next(folders)
    run_to_the_end(command(kind, killed), tmp_path / 'killed.log', port)
    assert_same(expected, bits(killed))
    record_property('kills', kills)


def assert_same(expected: dict, found: dict) -> None:
    assert found['names'] == expected['names']
    assert found['tensors'].keys() == expected['tensors'].keys()
    for path, tensor in expected['tensors'].items():
        assert torch.equal(tensor, found['tensors'][path]), path
    assert found['metrics'] == expected['metrics']
    assert found['tables'] == expected['tables']
