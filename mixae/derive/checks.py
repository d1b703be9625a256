"""Mistakes in a config that can be named before anything is built."""

import difflib
import inspect
import math
import re
from collections.abc import Iterable, Mapping

from mmengine.config import Config
from torch.utils.data import DataLoader

from mixae.derive.components import Component
from mixae.derive.keys import KEYS, MMENGINE_KEYS
from mixae.errors import ConfigError

# Libraries whose constructors hand further arguments to the class they inherit from, if anywhere.
_LIBRARIES = ('mixae', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmseg')
# Read by those who build a component, not by the component.
_OF_THE_BUILDER = {
    'optim_wrapper': ('constructor', 'paramwise_cfg'),
    'param_scheduler': ('convert_to_iter_based',),
}


def nearest(name: str, known: Iterable[str]) -> str:
    """'; did you mean X or Y?', or '.' where nothing known looks like ``name``."""
    close = difflib.get_close_matches(name, [str(one) for one in known], n=3, cutoff=0.6)
    return f'; did you mean {" or ".join(close)}?' if close else '.'


def check_top_level(cfg: Config, overridden: Iterable[str] = ()) -> None:
    """Every override lands on a key that is read; no key of a config looks like a typing error.

    A config may have helpers of its own, such as pipelines; an override of one has no effect.

    Args:
        cfg (Config): The config.
        overridden (Iterable[str]): Dotted names of the settings that were given by hand.

    Raises:
        ConfigError: Names the key and the nearest that are read.
    """
    known = KEYS.keys() | MMENGINE_KEYS
    for name in dict.fromkeys(key.split('.')[0] for key in overridden):
        if name in known:
            continue
        if name in cfg:
            raise ConfigError(
                f'{name} is a helper of the config, and was copied when it was read: override the '
                f'places that use it{_places(cfg, name)}.'
            )
        raise ConfigError(f'No run reads the setting {name!r}{nearest(name, known)}')
    for name in cfg:
        if name not in known and difflib.get_close_matches(name, known, n=1, cutoff=0.85):
            raise ConfigError(f'No run reads the setting {name!r}{nearest(name, known)}')


def _places(cfg: Config, name: str) -> str:
    users = [key for key in cfg if key != name and repr(cfg[name]) in repr(cfg[key])]
    return f' ({", ".join(users)})' if users else ''


# Settings of numbers: (pattern of the path, type, least, most).
_NUMBERS = [
    (r'(\w+_dataloader|train_features)\.batch_size', int, 1, math.inf),
    (r'(\w+_dataloader|train_features)\.num_workers', int, 0, math.inf),
    (r'(\w+_dataloader|train_features)\.prefetch_factor', int, 1, math.inf),
    (r'train_cfg\.(max_epochs|max_iters|val_interval)', int, 1, math.inf),
    (r'train_cfg\.val_begin', int, 0, math.inf),
    (r'num_classes|base_lr_batch', int, 1, math.inf),
    (r'warmup_(epochs|iters)', int, 0, math.inf),
    (r'base_lr|optim_wrapper\.optimizer\.lr', float, 0, 1e6),
    (r'optim_wrapper\.optimizer\.weight_decay', float, 0, 1e6),
    (r'optim_wrapper\.accumulative_counts', int, 1, math.inf),
    (r'randomness\.seed', int, 0, 2**32 - 1),
    (r'default_hooks\.(logger|topk_accuracy)\.interval', int, 1, math.inf),
    (r'default_hooks\.checkpoint\.(interval|max_keep_ckpts)', int, -1, math.inf),
    (r'model\.(mix_ratio|backbone\.(mask_ratio|drop_path_rate))', float, 0, 1),
    (r'model\.contrast\.layer', int, 0, math.inf),
    (r'model\.backbone\.(img_size|patch_size)(\[\d\])?', int, 1, math.inf),
]


def check_numbers(cfg: Config) -> None:
    """Numbers of the schedule, the loaders and the encoder are of the right type and range.

    Raises:
        ConfigError: Names the setting, what was given and what is expected.
    """
    for path, value in _leaves(cfg):
        for pattern, kind, least, most in _NUMBERS:
            if value is not None and value != 'auto' and re.fullmatch(pattern, path):
                _check_number(path, value, kind, least, most)


def _check_number(path: str, value, kind: type, least: float, most: float) -> None:
    fits = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    if not fits or not least <= value <= most or (path.endswith('interval') and value == 0):
        word = 'a whole number' if kind is int else 'a number'
        limits = f'from {least}' if most == math.inf else f'in [{least}, {most:g}]'
        raise ConfigError(f'{path}={value!r}: expected {word} {limits}.')


def _leaves(node, path: str = ''):
    items = node.items() if isinstance(node, Mapping | Config) else enumerate(node)
    for key, value in items:
        place = f'{path}[{key}]' if isinstance(key, int) else f'{path}.{key}'.lstrip('.')
        if isinstance(value, Mapping | list | tuple):
            yield from _leaves(value, place)
        else:
            yield place, value


def check_component(one: Component) -> None:
    """A component's class exists and takes the options that are given.

    Raises:
        ConfigError: Names the option or the type, what there is, and the nearest.
    """
    if one.cls is not None:
        check_options(one.options, one.cls, one.path)
    elif one.registries and (not one.path.startswith('model.') or one.path.count('.') == 1):
        # Deeper in a model, types may be names that no registry has, such as mmcv's RoI layers.
        raise ConfigError(
            f'{one.path}.type={one.options["type"]!r} is no registered class'
            f'{nearest(one.options["type"].split(".")[-1], one.known)}'
        )


def check_loader(options: Mapping, path: str) -> None:
    """Options of a data loader; raises ConfigError as :func:`check_options`."""
    check_options(options, DataLoader, path, more=('num_batch_per_epoch',))


def check_options(options: Mapping, cls, path: str, more: Iterable[str] = ()) -> None:
    """``options`` are arguments of ``cls``; ``path`` says where they stand in the config.

    Raises:
        ConfigError: Names the option, the nearest ones and all that there are.
    """
    names, closed = arguments(cls)
    known = [*names, *more, *_OF_THE_BUILDER.get(path.split('[')[0], ())]
    for key in options:
        if key in known or key in ('type', '_scope_', 'priority'):
            continue
        # Where anything is taken, only what looks like a typing error is one.
        if closed or difflib.get_close_matches(key, known, n=1, cutoff=0.85):
            raise ConfigError(
                f'{path}.{key}: {cls.__name__} has no option {key!r}{nearest(key, known)} Its '
                f'options: {", ".join(known)}.'
            )


def arguments(cls) -> tuple[list[str], bool]:
    """The names of a constructor's arguments, and whether it takes no others.

    Constructors of OpenMMLab and of ours hand on what they do not know to the class they inherit
    from.
    """
    names: list[str] = []
    for one in getattr(cls, '__mro__', (cls,)):
        if isinstance(one, type) and '__init__' not in vars(one):
            continue
        parameters = inspect.signature(one.__init__ if isinstance(one, type) else one).parameters
        names += [
            p.name
            for p in parameters.values()
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != 'self'
        ]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return list(dict.fromkeys(names)), True
        if one.__module__.split('.')[0] not in _LIBRARIES:
            break
    return list(dict.fromkeys(names)), False
