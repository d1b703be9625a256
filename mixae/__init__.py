"""Mixing-based masked autoencoders (MixedAE, i-MAE) on OpenMMLab.

mmengine finds the components by their scope: ``type='mixae.MixedAE'`` imports
:mod:`mixae.registry`, whose registries import the modules they name when they are first asked.
"""

import os

from mixae.version import __version__

# Threads that spin at barriers make CPU runs many times slower wherever cores are shared. Read by
# OpenMP when torch is first imported.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

__all__ = ['__version__', 'load_encoder']


def __getattr__(name: str):
    """What needs torch is imported when it is first used: tables are read without it."""
    if name == 'load_encoder':
        from mixae.evaluation.pretrained import load_encoder

        return load_encoder
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
