"""Mixing-based masked autoencoders (MixedAE, i-MAE) on OpenMMLab.

Importing the package registers its components in mmengine's registries under the scope ``mixae``;
a config does that with ``custom_imports = dict(imports=['mixae'])``.
"""

import contextlib
import io
import os

# Threads that spin at barriers make CPU runs many times slower wherever cores are shared. Read by
# OpenMP when torch is first imported.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

# The mm* packages print that an optional back-end of theirs is absent, each at import.
with contextlib.redirect_stdout(io.StringIO()):
    from mixae import datasets, engine, evaluation, models, visualization  # noqa: F401

from mixae.version import __version__

__all__ = ['__version__']
