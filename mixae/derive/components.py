"""The components that a config names, and their classes."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass

import mmengine.registry as root
from mmengine.config import Config
from mmengine.registry import Registry

# The mm* packages print, each at import, that an optional back-end of theirs is absent.
with contextlib.redirect_stdout(io.StringIO()):
    from mmpretrain.registry import BATCH_AUGMENTS

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader', 'train_features')
# Where the parts of a config are registered. A part's own parts are looked up where it is, but for
# those that `_INNER` names by their key.
_SECTIONS = {
    'model': (root.MODELS, root.TASK_UTILS),
    **{name: (root.DATASETS,) for name in LOADERS},
    **{
        f'{split}_evaluator': (root.METRICS, root.EVALUATOR, root.TASK_UTILS)
        for split in ('val', 'test')
    },
    **{f'{split}_cfg': (root.LOOPS,) for split in ('train', 'val', 'test')},
    'default_hooks': (root.HOOKS,),
    'custom_hooks': (root.HOOKS,),
    'optim_wrapper': (root.OPTIM_WRAPPERS,),
    'param_scheduler': (root.PARAM_SCHEDULERS,),
    'visualizer': (root.VISUALIZERS,),
}
_INNER = {
    'sampler': (root.DATA_SAMPLERS,),
    'batch_sampler': (root.DATA_SAMPLERS,),
    'pipeline': (root.TRANSFORMS,),
    'transforms': (root.TRANSFORMS,),
    'switch_pipeline': (root.TRANSFORMS,),
    'probe': (root.TASK_UTILS,),
    'optimizer': (root.OPTIMIZERS,),
    'vis_backends': (root.VISBACKENDS,),
    'augments': (BATCH_AUGMENTS,),
    'init_cfg': (root.WEIGHT_INITIALIZERS,),
    'collate_fn': (root.FUNCTIONS,),
}


@dataclass(frozen=True)
class Component:
    """One dict of a config that has a ``type``.

    Attributes:
        path (str): Where it is, such as 'model.neck' or 'train_dataloader.dataset.pipeline[0]'.
        options (dict): The dict itself, not a copy.
        cls (type, optional): The class; None where its name is in none of the registries that
            belong to the place (some types of mmcv are no registry's).
        registries (tuple[Registry]): Those.
    """

    path: str
    options: dict
    cls: type | None
    registries: tuple[Registry, ...]

    @property
    def known(self) -> list[str]:
        """The names that ``type`` could have here, those of libraries as 'mmdet.FPN'."""
        return [name for one in self.registries for name in _names(one)]

    @property
    def names(self) -> list[str]:
        """The class and those it inherits from, with their libraries, such as 'mmdet.FPN'."""
        return [
            f'{one.__module__.split(".")[0]}.{one.__name__}'
            for one in getattr(self.cls, '__mro__', ())
        ]


def components(cfg: Config) -> list[Component]:
    """All components of a config, each after those that contain it."""
    found = []
    with contextlib.redirect_stdout(io.StringIO()):
        for section, registries in _SECTIONS.items():
            if cfg.get(section):
                found += _walk(cfg[section], section, registries, cfg.get('default_scope'))
    return found


def _walk(node, path: str, registries: tuple[Registry, ...], scope) -> Iterator[Component]:
    if isinstance(node, dict):
        if 'type' in node:
            yield Component(path, node, find_class(node['type'], registries, scope), registries)
        for key, value in list(node.items()):
            yield from _walk(value, f'{path}.{key}', _INNER.get(key, registries), scope)
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _walk(value, f'{path}[{index}]', registries, scope)


def find_class(name, registries: tuple[Registry, ...], scope: str | None) -> type | None:
    """The class that a ``type`` of a config means."""
    if not isinstance(name, str) or not name:
        return name if isinstance(name, type) else None
    for one in registries:
        with one.switch_scope_and_registry(scope) as there:
            found = there.get(name)
        if found is not None:
            return found
    return None


def is_model(cfg: Config, cls: type) -> bool:
    """Whether a config's model is of a class."""
    found = find_class(cfg.model.type, (root.MODELS,), cfg.get('default_scope'))
    return found is not None and issubclass(found, cls)


def _names(registry: Registry) -> list[str]:
    scoped = [f'{registry.scope}.{name}' for name in registry.module_dict]
    children = [name for child in registry.children.values() for name in _names(child)]
    return [*(scoped if registry.parent else registry.module_dict), *children]
