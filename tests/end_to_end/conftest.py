"""The project's tools as a user runs them: subprocesses on small data."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.tools import ROOT, tool_command, tool_environ

PLUGINS = Path(__file__).parent / 'plugins'


@pytest.fixture
def tool():
    """Runs tools/NAME with arguments; returns the finished process, output and errors as one."""

    def run(name: str, *args, status: int | None = 0, options: dict | None = None):
        python_path = os.pathsep.join(map(str, (ROOT, PLUGINS)))
        done = subprocess.run(
            tool_command(name, *args, options=options),
            cwd=ROOT,
            env=tool_environ(PYTHONPATH=python_path, OMP_WAIT_POLICY='PASSIVE'),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        if status is not None:
            assert done.returncode == status, done.stdout[-4000:]
        return done

    return run


@pytest.fixture
def with_plugins(tmp_path):
    """A config file that adds the tests' components to one of the project's."""

    def write(config: str) -> Path:
        path = tmp_path / Path(config).name
        path.write_text(
            f'_base_ = [{str(ROOT / config)!r}]\n'
            "custom_imports = dict(imports=['mixae', 'e2e_plugins'])\n"
        )
        return path

    return write


@pytest.fixture
def options(image_folder):
    """What makes a CIFAR pre-training config small, on the test images."""
    return {
        'train_dataloader.dataset.dataset.data_root': image_folder,
        'train_dataloader.batch_size': 8,
        'train_dataloader.num_workers': 0,
        'model.backbone.patch_size': 8,
        'model.neck.decoder_depth': 1,
        'train_cfg.max_epochs': 2,
        'default_hooks.checkpoint.interval': 1,
        'optim_wrapper.type': 'OptimWrapper',
    }
