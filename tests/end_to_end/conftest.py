"""The project's tools as a user runs them: subprocesses on small data."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = Path(__file__).parent / 'plugins'


@pytest.fixture
def tool():
    """Runs tools/NAME with arguments; returns the finished process, output and errors as one."""

    def run(name: str, *args, status: int | None = 0, options: dict | None = None):
        command = [sys.executable] if name.endswith('.py') else ['bash']
        command += [str(ROOT / 'tools' / name), *map(str, args)]
        if options:
            command += ['--cfg-options', *(f'{k}={v}' for k, v in options.items())]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ
            | dict(
                PYTHONPATH=os.pathsep.join(map(str, (ROOT, PLUGINS))),
                PYTHON=sys.executable,
                OMP_NUM_THREADS='1',
                OMP_WAIT_POLICY='PASSIVE',
                CUDA_VISIBLE_DEVICES='',
                PORT=str(free_port()),
            ),
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


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
