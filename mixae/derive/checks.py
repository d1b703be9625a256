"""Names in a config: settings that nothing reads, unknown types, options that a class lacks."""

import difflib
import inspect
import logging
import re
import types
import typing
from collections.abc import Iterable, Mapping

import mmengine.registry as root
from mmengine.config import Config
from mmengine.dist import init_dist
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from mixae.derive.components import LOADERS, Component
from mixae.derive.keys import KEYS, MMENGINE_KEYS
from mixae.derive.values import WORDS, in_words, short
from mixae.errors import ConfigError

# Libraries whose constructors hand further arguments to the class they inherit from, if anywhere.
_LIBRARIES = ('mixae', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmseg')
_OF_SOME_CONFIGS = ('pretrained', 'num_classes', 'lr_steps')
# Read by those who build a component, not by the component.
_OF_THE_BUILDER = {
    'optim_wrapper': ('constructor', 'paramwise_cfg'),
    'param_scheduler': ('convert_to_iter_based',),
}


def nearest(name: str, known: Iterable[str]) -> str:
    """'; did you mean X or Y?', or '.' where nothing known looks like ``name``."""
    known = dict.fromkeys(map(str, known))
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
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
        if name == 'custom_imports':
            raise ConfigError('custom_imports are made while a config is read: set them in a file.')
        if name in _OF_SOME_CONFIGS and name not in cfg:
            raise ConfigError(f'This config has no {name}, so that nothing would read it.')
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


def check_words(cfg: Config) -> None:
    """Words of the top level are among those that there are.

    Raises:
        ConfigError: An unknown ``log_level``, or a ``default_scope`` of no library.
    """
    for name, known in (
        ('log_level', logging.getLevelNamesMapping()),
        ('default_scope', ('mmengine', *root.MODELS.children)),
    ):
        value = cfg.get(name)
        if value is not None and value not in known:
            raise ConfigError(
                f'{name}={value!r} is unknown{nearest(value, known)} There are {", ".join(known)}.'
            )


def _places(cfg: Config, name: str) -> str:
    users = [key for key in cfg if key != name and repr(cfg[name]) in repr(cfg[key])]
    return f' ({", ".join(users)})' if users else ''


# Deeper in a model than its parts, types may be names that no registry has, such as mmcv's RoI
# layers; not those of losses and augmentations.
_KNOWN = re.compile(r'^model\.\w+$|\.(loss\w*|augments\[\d+\])$')


def check_type(one: Component) -> None:
    """A component's class exists.

    Raises:
        ConfigError: Names the type and the nearest that there are.
    """
    if one.cls is None and (not one.path.startswith('model.') or _KNOWN.search(one.path)):
        given, known = str(one.options['type']), one.known
        bare = given.split('.')[-1]
        scoped = [name for name in known if name.split('.')[-1] == bare]
        if scoped:  # the class of another library, which `default_scope` does not name
            near = f'; did you mean {" or ".join(scoped)}?'
        else:
            near = nearest(bare, (name.split('.')[-1] for name in known))
        raise ConfigError(f'{one.path}.type={given!r} is no registered class{near}')


# Of a run's processes and of the optimiser: what takes no part in the registries.
_PARAMWISE = (
    *('bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult', 'dwconv_decay_mult'),
    *('dcn_offset_lr_mult', 'bypass_duplicate', 'custom_keys', 'layer_decay_rate'),
    *('decay_rate', 'decay_type', 'num_layers'),
)


def check_plain_parts(cfg: Config) -> None:
    """Options of parts that are no components: loaders, seeds, processes, gradient clipping.

    Raises:
        ConfigError: As :func:`check_options`.
    """
    for name in LOADERS:
        check_options(cfg.get(name) or {}, DataLoader, name, more=('num_batch_per_epoch',))
    check_options(cfg.get('randomness') or {}, Runner.set_randomness, 'randomness')
    env = cfg.get('env_cfg') or {}
    parts = ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit')
    _check_names(env, parts, 'env_cfg', 'env_cfg')
    check_options(env.get('mp_cfg') or {}, set_multi_processing, 'env_cfg.mp_cfg')
    check_options(env.get('dist_cfg') or {}, init_dist, 'env_cfg.dist_cfg', more=('timeout',))
    wrapper = cfg.get('optim_wrapper') or {}
    if isinstance(clip := wrapper.get('clip_grad'), dict) and clip.get('type', 'norm') == 'norm':
        check_options(clip, clip_grad_norm_, 'optim_wrapper.clip_grad')
    paramwise = wrapper.get('paramwise_cfg') or {}
    _check_names(paramwise, _PARAMWISE, 'optim_wrapper.paramwise_cfg', 'paramwise_cfg', False)


def check_options(options: Mapping, cls, path: str, more: Iterable[str] = ()) -> None:
    """``options`` are arguments of ``cls``, of the types that it says.

    Args:
        options (Mapping): What a config gives.
        cls: A class or a function.
        path (str): Where the options stand in the config.
        more (Iterable[str]): Options that are read by others.

    Raises:
        ConfigError: Names the option, the nearest ones and all that there are.
    """
    if not isinstance(options, Mapping):
        raise ConfigError(f'{path}={short(options)}: expected dict(...).')
    name = getattr(cls, '__name__', str(cls))
    parameters, closed = arguments(cls)
    known = [*parameters, *more, *_OF_THE_BUILDER.get(path.split('[')[0], ())]
    _check_names(options, known, path, name, closed)
    for key, value in options.items():
        if key in parameters and (expected := _wrong_type(value, parameters[key])):
            raise ConfigError(f'{path}.{key}={short(value)}: {name} expects {expected}.')


def _check_names(options: Mapping, known, path: str, name: str, closed: bool = True) -> None:
    for key in options:
        if key in known or key in ('type', '_scope_', 'priority'):
            continue
        # Where anything is taken, only what looks like a typing error is one.
        if closed or difflib.get_close_matches(key, known, n=1, cutoff=0.85):
            raise ConfigError(
                f'{path}.{key}: {name} has no option {key!r}{nearest(key, known)} Its '
                f'options: {", ".join(known)}.'
            )


def _wrong_type(value, parameter: inspect.Parameter) -> str | None:
    """What is expected, in words, where a value is not of its argument's plain type.

    Annotations are taken loosely, so that none of the 103,239 components in the configs of
    mmpretrain, mmdet and mmseg is refused: lists, numbers of the other kind, numbers for texts, and
    None where there is a default, pass.
    """
    hint = parameter.annotation
    hint = _OF_TORCH.get(hint, hint)
    kinds = set(typing.get_args(hint) if _is_union(hint) else (hint,))
    if not kinds <= WORDS.keys() - {list} or kinds == {str}:
        return None
    kinds |= {type(parameter.default)}
    if kinds & {int, float}:
        kinds |= {int, float}
    given = dict if isinstance(value, Mapping) else type(value)
    if given not in WORDS.keys() - {list} - kinds or value in ('auto', 'required'):
        return None
    if value is None and parameter.default is not parameter.empty:
        return None
    return in_words(kinds - {int})


_OF_TORCH = {'bool': bool, 'int': int, 'float': float}  # whose annotations are texts


def _is_union(hint) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def arguments(cls) -> tuple[dict[str, inspect.Parameter], bool]:
    """A constructor's arguments, and whether it takes no others.

    Constructors of OpenMMLab and of ours hand on what they do not know to the class they inherit
    from.
    """
    found: dict[str, inspect.Parameter] = {}
    for one in getattr(cls, '__mro__', (cls,)):
        if isinstance(one, type) and '__init__' not in vars(one):
            continue
        parameters = inspect.signature(one.__init__ if isinstance(one, type) else one).parameters
        for name, p in parameters.items():
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name != 'self':
                found.setdefault(name, p)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return found, True
        if one.__module__.split('.')[0] not in _LIBRARIES:
            break
    return found, False
