"""The project's tools as a user starts them."""

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]


def tool_command(name: str, *args, options: Mapping | None = None) -> list[str]:
    """The command line of tools/NAME with arguments and ``--cfg-options``."""
    command = [sys.executable] if name.endswith('.py') else ['bash']
    command += [str(ROOT / 'tools' / name), *map(str, args)]
    if options:
        command += ['--cfg-options', *(f'{k}={v}' for k, v in options.items())]
    return command


def tool_environ(**more: str) -> dict[str, str]:
    """This process's environment with the checkout on the path, on one core and no GPU."""
    own = dict(PYTHONPATH=str(ROOT), PYTHON=sys.executable, OMP_NUM_THREADS='1')
    return os.environ | own | dict(CUDA_VISIBLE_DEVICES='', PORT=str(free_port())) | more


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]
