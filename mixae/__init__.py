"""Mixing-based masked autoencoders (MixedAE, i-MAE) on OpenMMLab.

Importing the package registers its components in mmengine's registries under the scope ``mixae``;
a config does that with ``custom_imports = dict(imports=['mixae'])``.
"""

from mixae import datasets, engine, evaluation, models, visualization  # noqa: F401
from mixae.version import __version__

__all__ = ['__version__']
