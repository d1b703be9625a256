"""The tutorial notebook: its cells run, made small, and end in a table."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = {
    'EPOCHS = 12': 'EPOCHS = 1',
    "{'train_cfg.max_epochs': EPOCHS}": (
        "{'train_cfg.max_epochs': EPOCHS, 'train_dataloader.dataset.subset': 256, "
        "'warmup_epochs': 0}"
    ),
    "config(DETECTION, 'detection')": (
        "config(DETECTION, 'detection', **{'train_dataloader.dataset.indices': 24, "
        "'val_dataloader.dataset.indices': 8, 'warmup_iters': 2})"
    ),
}


def cells(kind):
    notebook = json.loads((ROOT / 'docs/tutorial.ipynb').read_text())
    return [''.join(c['source']) for c in notebook['cells'] if c['cell_type'] == kind]


def test_it_is_saved_without_outputs_and_its_lines_fit():
    notebook = json.loads((ROOT / 'docs/tutorial.ipynb').read_text())
    assert not any(c.get('outputs') for c in notebook['cells'])
    lines = '\n'.join(cells('markdown') + cells('code')).splitlines()
    assert max(map(len, lines)) <= 100


@pytest.mark.slow
def test_its_cells_run(tmp_path):
    program = '\n'.join(cells('code'))
    for line, small in SMALL.items():
        assert line in program
        program = program.replace(line, small)
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=tmp_path, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    table = done.stdout[-3000:]
    assert 'MixedAE' in table and 'random encoder' in table and 'Box AP50' in table
    assert (tmp_path / 'work_dirs/tutorial/reconstructions.png').is_file()
