"""Mixing-based masked autoencoders (MixedAE, i-MAE) on OpenMMLab.

mmengine finds the components by their scope: ``type='mixae.MixedAE'`` imports
:mod:`mixae.registry`, whose registries import the modules they name when they are first asked.
"""

import os

from mixae.version import __version__

# Threads that spin at barriers make CPU runs many times slower wherever cores are shared. Read by
# OpenMP when torch is first imported.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

__all__ = ['__version__']
