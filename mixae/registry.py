"""Registries of mixae: children of mmengine's, in the scope ``mixae``.

A config writes our types with the scope, ``type='mixae.MixedAE'``, and so works under any
``default_scope`` (mmpretrain, mmdet, mmseg).
"""

import traceback

import mmengine.registry as root
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry, build_from_cfg

from mixae.installed import check_installed

check_installed()  # before what needs the packages of OpenMMLab

# mmengine reads `_base_ = 'mixae::mae/vitb_800e.py'` for the packages of this table.
MODULE2PACKAGE['mixae'] = 'mixae'


def _child(parent: Registry, *locations: str) -> Registry:
    return Registry(
        parent.name, parent=parent, scope='mixae', locations=[f'mixae.{x}' for x in locations]
    )


RUNNERS = _child(root.RUNNERS, 'engine')
LOOPS = _child(root.LOOPS, 'engine', 'evaluation')
HOOKS = _child(root.HOOKS, 'engine', 'evaluation', 'visualization')
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(root.OPTIM_WRAPPER_CONSTRUCTORS, 'engine')
DATASETS = _child(root.DATASETS, 'datasets')
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, 'datasets')
TRANSFORMS = _child(root.TRANSFORMS, 'datasets')
FUNCTIONS = _child(root.FUNCTIONS, 'datasets')
MODELS = _child(root.MODELS, 'models')
METRICS = _child(root.METRICS, 'evaluation')
TASK_UTILS = _child(root.TASK_UTILS, 'evaluation')
VISUALIZERS = _child(root.VISUALIZERS, 'visualization')


def being_built(error: BaseException) -> dict | None:
    """The options of the innermost component whose construction an error ended; None for none."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is build_from_cfg.__code__:
            found = frame.f_locals['cfg']
    return found
