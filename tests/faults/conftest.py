"""Runs as a user starts them, for tests that hurt them: processes, signals, killed launchers."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.tools import ROOT, tool_command, tool_environ


class Started:
    """A tool at work, its output in a file."""

    def __init__(self, command: list[str], path: Path, environ: dict[str, str]) -> None:
        self.path = path
        self.popen = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environ,
            stdout=path.open('w'),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def output(self) -> str:
        return self.path.read_text()

    def wait_for(self, text: str, seconds: float = 240) -> None:
        """Until its output has a text."""
        until = time.monotonic() + seconds
        while text not in self.output:
            assert self.popen.poll() is None, self.output[-4000:]
            assert time.monotonic() < until, self.output[-4000:]
            time.sleep(0.05)

    def end(self, seconds: float = 240) -> int:
        """Its exit status."""
        return self.popen.wait(seconds)

    def last_line(self) -> str:
        return self.output.strip().splitlines()[-1]

    def children(self) -> list[int]:
        """The processes that it has started itself."""
        path = Path(f'/proc/{self.popen.pid}/task/{self.popen.pid}/children')
        return [int(pid) for pid in path.read_text().split()]


@pytest.fixture
def start(tmp_path):
    """Starts tools/NAME with arguments and options; what is left at the end of a test is killed."""
    started = []

    def run(name: str, *args, options: dict | None = None, **environ: str) -> Started:
        one = Started(
            tool_command(name, *args, options=options),
            tmp_path / f'output_{len(started)}.txt',
            tool_environ(**environ),
        )
        started.append(one)
        return one

    yield run
    for one in started:
        if one.popen.poll() is None:
            os.killpg(one.popen.pid, signal.SIGKILL)
            one.popen.wait()


@pytest.fixture
def options(image_folder):
    """What makes a CIFAR pre-training config small; 6 steps an epoch, a line each."""
    return {
        'train_dataloader.dataset.dataset.data_root': image_folder,
        'train_dataloader.batch_size': 8,
        'train_dataloader.num_workers': 0,
        'model.backbone.arch': 'mini',
        'model.backbone.patch_size': 8,
        'model.neck.decoder_depth': 1,
        'train_cfg.max_epochs': 400,
        'warmup_epochs': 1,
        'default_hooks.checkpoint.interval': 1,
        'default_hooks.checkpoint.max_keep_ckpts': 1,
        'default_hooks.logger.interval': 1,
        'optim_wrapper.type': 'OptimWrapper',
    }
