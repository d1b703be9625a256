"""The processes of a distributed run."""

import os

import torch.distributed
from mmengine.config import Config
from mmengine.dist import get_dist_info, is_distributed

from mixae.errors import ConfigError

# What each launcher calls a process's number and the number of processes.
_ENVIRONMENT = {
    'pytorch': ('RANK', 'WORLD_SIZE'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'),
}


def launched_as(cfg: Config) -> tuple[int, int]:
    """Rank of this process and number of processes, known before they have met."""
    if is_distributed():
        return get_dist_info()
    names = _ENVIRONMENT.get(cfg.get('launcher', 'none'))
    if names is None:
        return 0, 1
    return int(os.environ.get(names[0], 0)), int(os.environ.get(names[1], 1))


def init_gloo(launcher: str) -> None:
    """Start torch.distributed on CPU from the environment that torchrun or SLURM sets.

    Raises:
        ConfigError: For a launcher that has no CPU form here (mpi).
    """
    if is_distributed():
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
    torch.distributed.init_process_group('gloo')
