"""Values in a config: of their kind, and numbers within their range."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from mmengine.config import Config

from mixae.derive.components import LOADERS
from mixae.errors import ConfigError

# Top-level settings that are texts, also where digits are given.
TEXTS = (
    *('method', 'task', 'budget', 'data_root', 'pretrained', 'work_dir', 'load_from'),
    *('experiment_name', 'log_level', 'default_scope'),
)
# What the top-level settings are, where they are given.
_KINDS = {
    **dict.fromkeys(('model', 'env_cfg', 'randomness'), (dict,)),
    **dict.fromkeys((*LOADERS, 'train_cfg', 'val_cfg', 'test_cfg'), (dict, type(None))),
    **dict.fromkeys(('optim_wrapper', 'default_hooks', 'visualizer'), (dict, type(None))),
    **dict.fromkeys(('data_about', 'protocol', 'variant'), (dict, type(None))),
    **dict.fromkeys(('param_scheduler', 'custom_hooks', 'lr_steps'), (list, type(None))),
    **dict.fromkeys(('val_evaluator', 'test_evaluator'), (dict, list, type(None))),
    **dict.fromkeys(('resume', 'overwrite', 'find_unused_parameters'), (bool, type(None))),
    **dict.fromkeys(TEXTS, (str, type(None))),
    'compile': (bool, dict, type(None)),
}
WORDS = {
    bool: 'True or False',
    int: 'a whole number',
    float: 'a number',
    str: 'a text',
    dict: 'dict(...)',
    list: 'a list',
    type(None): 'None',
}


def check_values(cfg: Config) -> None:
    """Settings are of their kind, and numbers within their range.

    Raises:
        ConfigError: Names the setting, what was given and what is expected.
    """
    _check_kinds(cfg)
    for path, value in nodes(cfg):
        holds_others = value is None or isinstance(value, Mapping | list | tuple)
        for pattern, kind, interval in _NUMBERS if not holds_others and value != 'auto' else ():
            if re.fullmatch(pattern, path):
                _check_number(path, value, kind, interval)


def _check_kinds(cfg: Config) -> None:
    """What holds other settings is a dict, or a list of dicts."""
    for name, kinds in _KINDS.items():
        if name in cfg or name == 'model':
            _check_kind(name, cfg.get(name), kinds)
    for path in ('protocol.name', 'protocol.version', 'data_about.name'):
        section, key = path.split('.')
        if cfg.get(section):
            _check_kind(path, cfg[section].get(key), (str,))
    for name, hook in (cfg.get('default_hooks') or {}).items():
        _check_kind(f'default_hooks.{name}', hook, (dict, type(None)))
    for name in ('param_scheduler', 'custom_hooks'):
        for i, part in enumerate(cfg.get(name) or ()):
            _check_kind(f'{name}[{i}]', part, (dict,))
    for name in LOADERS:
        for part in {'dataset', 'sampler'} & set(cfg.get(name) or ()):
            _check_kind(f'{name}.{part}', cfg[name][part], (dict,))
    if cfg.get('optim_wrapper'):
        _check_kind('optim_wrapper.optimizer', cfg.optim_wrapper.get('optimizer'), (dict,))
    if 'backbone' in cfg.model:
        _check_kind('model.backbone', cfg.model.backbone, (dict,))
    for path, options in (('model', cfg.model), ('model.backbone', cfg.model.get('backbone'))):
        if options is not None and 'type' not in options:
            raise ConfigError(f'{path} has no type: expected dict(type=..., ...).')


def check_complete(cfg: Config) -> None:
    """A validation or test has all of its three parts, or none.

    Raises:
        ConfigError: Names what is missing.
    """
    for split in ('val', 'test'):
        names = [f'{split}_{part}' for part in ('dataloader', 'cfg', 'evaluator')]
        missing = [name for name in names if cfg.get(name) is None]
        if len(missing) in (1, 2):
            given = [name for name in names if name not in missing]
            raise ConfigError(
                f'{" and ".join(missing)} not set, but {" and ".join(given)}: give all three, or '
                'None for all three.'
            )


def _check_kind(path: str, value, kinds: tuple[type, ...]) -> None:
    if isinstance(value, tuple(kinds)) or (list in kinds and isinstance(value, tuple)):
        return
    if value in ('auto', 'required') and str in kinds:
        return
    raise ConfigError(f'{path}={short(value)}: expected {in_words(kinds)}.')


def in_words(kinds: Iterable[type]) -> str:
    """Types for a person: 'a number or None'."""
    return ' or '.join(words for kind, words in WORDS.items() if kind in kinds)


def short(value, length: int = 80) -> str:
    """A value as Python writes it, cut where it is long."""
    text = ' '.join(repr(value).split())
    return text if len(text) <= length else f'{text[:length]}...'


# Settings of numbers: (pattern of the path, type, interval, and perhaps one value outside).
_LOADER = rf'({"|".join(LOADERS)})'
_NUMBERS = [
    (rf'{_LOADER}\.(batch_size|prefetch_factor|dataset\.(subset|shots))', int, '[1, inf)'),
    (rf'{_LOADER}\.(num_workers|timeout)', int, '[0, inf)'),
    (r'train_cfg\.(max_epochs|max_iters|val_interval)', int, '[1, inf)'),
    (r'train_cfg\.val_begin', int, '[0, inf)'),
    (r'num_classes|base_lr_batch', int, '[1, inf)'),
    (r'lr_steps\[\d+\]', float, '(0, 1]'),
    (r'warmup_epochs', float, '[0, inf)'),
    (r'warmup_iters', int, '[0, inf)'),
    (r'base_lr|optim_wrapper\.optimizer\.(lr|weight_decay)', float, '[0, 1e6]'),
    (r'optim_wrapper\.accumulative_counts', int, '[1, inf)'),
    (r'optim_wrapper\.clip_grad\.(max_norm|clip_value)', float, '(0, inf)'),
    (r'optim_wrapper\.paramwise_cfg\.layer_decay_rate', float, '(0, 1]'),
    (r'randomness\.seed', int, '[0, 4294967295]'),
    (r'env_cfg\.dist_cfg\.timeout', float, '(0, inf)'),
    (r'env_cfg\.mp_cfg\.opencv_num_threads', int, '[0, inf)'),
    (r'default_hooks\.(logger|topk_accuracy)\.interval', int, '[1, inf)'),
    (r'default_hooks\.checkpoint\.(interval|max_keep_ckpts)', int, '[1, inf) or -1'),
    (r'(val|test)_evaluator(\[\d+\])?\.topk(\[\d+\])?', int, '[1, inf)'),
    (r'test_cfg\.probe\.(k|epochs|batch_size)', int, '[1, inf)'),
    (r'test_cfg\.probe\.(warmup_epochs|seed)', int, '[0, inf)'),
    (r'test_cfg\.probe\.temperature', float, '(0, inf)'),
    (r'test_cfg\.probe\.base_lr', float, '[0, 1e6]'),
    (r'model\.mix_ratio', float, '[0, 1]'),
    (r'model\.contrast\.layer', int, '[0, inf)'),
    (r'model\.contrast\.proj_dim', int, '[1, inf)'),
    (r'model\.contrast\.temperature', float, '(0, inf)'),
    (r'model\.(contrast|distill)\.weight', float, '[0, inf)'),
    (r'model\.backbone\.(drop_rate|drop_path_rate)', float, '[0, 1]'),
    (r'model\.backbone\.mask_ratio', float, '(0, 1)'),
    (r'model\.backbone\.(img_size|patch_size)(\[\d\])?|model\.backbone\.in_chans', int, '[1, inf)'),
    (r'model\.backbone\.out_indices(\[\d+\])?', int, '(-inf, inf)'),
    (r'model\.neck\.decoder_(embed_dim|num_heads)', int, '[1, inf)'),
    (r'model\.neck\.decoder_depth', int, '[0, inf)'),
    (r'model\.neck\.mlp_ratio', float, '(0, inf)'),
    (r'model\.data_preprocessor\.mean\[\d+\]', float, '(-inf, inf)'),
    (r'model\.data_preprocessor\.std\[\d+\]', float, '(0, inf)'),
    (r'model\.train_cfg\.augments\[\d\]\.alpha', float, '(0, inf)'),
]


def _check_number(path: str, value, kind: type, interval: str) -> None:
    interval, _, other = interval.partition(' or ')
    fits = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    least, most = map(float, interval[1:-1].split(', '))
    if fits and (
        least < value < most
        or (value == least and interval[0] == '[')
        or (value == most and interval[-1] == ']')
        or str(value) == other
    ):
        return
    limits = f' in {interval}'
    if most == math.inf:
        limits = f' {"from" if interval[0] == "[" else "above"} {least:g}' if least > -most else ''
    if other:
        limits += f', or {other}'
    raise ConfigError(f'{path}={short(value)}: expected {WORDS[kind]}{limits}.')


def nodes(node, path: str = '') -> Iterator[tuple[str, object]]:
    """Everything within a config, with its place: 'model.backbone.out_indices[0]'."""
    items = node.items() if isinstance(node, Mapping | Config) else enumerate(node)
    for key, value in items:
        place = f'{path}[{key}]' if isinstance(key, int) else f'{path}.{key}'.lstrip('.')
        yield place, value
        if isinstance(value, Mapping | list | tuple):
            yield from nodes(value, place)
