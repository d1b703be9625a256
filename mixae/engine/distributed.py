"""The processes of a distributed run: how they meet, wait for each other, and end."""

import argparse
import ctypes
import datetime
import json
import os
import re
import signal
import socket
import sys
import time

import torch.distributed
from mmengine.config import Config
from mmengine.dist import get_dist_info, is_distributed

from mixae.errors import LAUNCHER, ConfigError, StartError, describe_error

TIMEOUT = (
    600  # seconds that a process waits for the others where env_cfg.dist_cfg.timeout is not set
)
# What each launcher sets: a process's number and the number of processes first.
_ENVIRONMENT = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS'),
    'mpi': (
        *('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'),
        *('OMPI_COMM_WORLD_LOCAL_RANK', 'MASTER_ADDR'),
    ),
}
_PR_SET_PDEATHSIG = 1


def check_launcher(launcher: str) -> None:
    """Make sure that a launcher has started this process.

    Raises:
        ConfigError: An unknown launcher, or one that has not started this process.
        StartError: Numbers that are none, or a host that there is not.
    """
    if launcher == 'none':
        return
    if not isinstance(launcher, str) or launcher not in _ENVIRONMENT:
        raise ConfigError(f'launcher={launcher!r}: expected none, {", ".join(_ENVIRONMENT)}.')
    names = _ENVIRONMENT[launcher]
    if missing := [name for name in names if name not in os.environ]:
        raise ConfigError(
            f'--launcher {launcher}: {", ".join(missing)} is not set, so this process was not '
            'started by it. Use tools/dist_train.sh (pytorch) or tools/slurm_train.sh (slurm), or '
            'leave --launcher out.'
        )
    rank, size = (os.environ[name] for name in names[:2])
    port = os.environ.get('MASTER_PORT', '29500')
    if not (rank + size + port).isdecimal() or int(rank) >= int(size) or int(port) > 65535:
        raise StartError(
            f'--launcher {launcher}: {names[0]}={rank}, {names[1]}={size}, port {port}: expected '
            'the number of this process, from 0 and less than the number of processes, and a port.'
        )
    if launcher == 'pytorch':
        address = os.environ['MASTER_ADDR']
        try:
            socket.getaddrinfo(address or '?', int(port))
        except (OSError, UnicodeError) as error:
            raise StartError(
                f'--launcher pytorch: MASTER_ADDR={address!r}: expected the name of the host of '
                f'process 0, where the processes meet ({describe_error(error)}).'
            ) from error
    if not os.environ.get('LOCAL_RANK', '0').isdecimal():
        raise StartError(f'LOCAL_RANK={os.environ["LOCAL_RANK"]}: expected a number from 0.')


def launched_as(cfg: Config) -> tuple[int, int]:
    """Rank of this process and number of processes, known before they have met."""
    if is_distributed():
        return get_dist_info()
    names = _ENVIRONMENT.get(cfg.get('launcher', 'none'))
    if names is None:
        return 0, 1
    return int(os.environ.get(names[0], 0)), int(os.environ.get(names[1], 1))


def init_processes(cfg: Config) -> None:
    """State how long processes wait for each other; without a GPU, let them meet by gloo.

    mmengine's launcher needs a GPU, and reads the timeout from the same place.

    Args:
        cfg (Config): ``env_cfg.dist_cfg.timeout`` in seconds is set where it is not.

    Raises:
        ConfigError: A launcher that has no CPU form here (mpi).
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none':
        return
    cfg.setdefault('env_cfg', {}).setdefault('dist_cfg', {}).setdefault('timeout', TIMEOUT)
    if is_distributed() or torch.cuda.is_available():
        return
    if launcher == 'slurm':
        # One node is what a CPU run has; several need MASTER_ADDR from the user.
        os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
        os.environ.setdefault('MASTER_PORT', '29500')
        os.environ['RANK'] = os.environ['SLURM_PROCID']
        os.environ['WORLD_SIZE'] = os.environ['SLURM_NTASKS']
        os.environ['LOCAL_RANK'] = os.environ.get('SLURM_LOCALID', '0')
    elif launcher != 'pytorch':
        raise ConfigError(f"launcher={launcher!r} needs a GPU; on CPU use 'pytorch' or 'slurm'.")
    timeout = datetime.timedelta(seconds=cfg.env_cfg.dist_cfg.timeout)
    torch.distributed.init_process_group('gloo', timeout=timeout)


def end_with_parent() -> None:
    """Let this process, one of a distributed run, end when its launcher does (Linux).

    torchrun that is killed would leave its processes to train on, and to write checkpoints beside
    those of the run that is started in their place.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--launcher', default='none')
    if parser.parse_known_args()[0].launcher == 'none' or sys.platform != 'linux':
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have ended while this process was importing.
    if os.environ.get(LAUNCHER) not in (None, str(os.getppid())):
        sys.exit(1)


def lost_connection(error: Exception) -> tuple[str, str] | None:
    """What happened to the other processes, where that is what an error says.

    Returns:
        tuple[str, str], optional: 'waited' or 'closed', and the message.
    """
    text = str(error)
    if not isinstance(error, torch.distributed.DistError) and '/gloo/' not in text:
        return None
    advice = '--resume continues from the last checkpoint.'
    rank = os.environ.get('RANK', '0')
    if waited := re.search(r'waiting (\d+)ms', text):
        return 'waited', (
            f'process {rank} has waited {int(waited[1]) / 1000:g} s for another, which is stopped '
            f'or stuck (env_cfg.dist_cfg.timeout says how long to wait). {advice}'
        )
    return 'closed', f'process {rank} lost its connection to another, which has ended. {advice}'


def tell_launcher(message: str, lost: str | None = None) -> bool:
    """Hand a message to the torchrun that started this process.

    Args:
        message (str): Why this process ends.
        lost (str, optional): Where that is only that another is gone: what
            :func:`lost_connection` calls it. Defaults to None.

    Returns:
        bool: Whether the launcher prints it, as ours does.
    """
    path = os.environ.get('TORCHELASTIC_ERROR_FILE')
    if path:
        about = dict(py_callstack=message, timestamp=str(int(time.time())), lost=lost)
        with open(path, 'w', encoding='utf-8') as file:
            json.dump(dict(message=dict(message=message, extraInfo=about)), file)
    return bool(path) and LAUNCHER in os.environ
