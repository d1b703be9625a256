"""Values in a config: of their kind, and numbers within their range."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

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
    **dict.fromkeys(('log_processor', 'encoder_card', 'auto_scale_lr'), (dict, type(None))),
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
        for pattern, kinds in _HOLDERS:
            if re.fullmatch(pattern, path):
                _check_kind(path, value, kinds)
        for pattern, kind, interval in _NUMBERS:
            if re.fullmatch(pattern, path) and not _is_left_open(path, value, pattern, interval):
                check_number(path, value, kind, interval)


def check_seed(value) -> None:
    """A seed that every generator takes.

    Raises:
        ConfigError: Says what is expected.
    """
    check_number('seed', value, int, _SEED)


def _is_left_open(path: str, value, pattern: str, interval: str) -> bool:
    """Derived, or None where that is allowed, or a list, whose entries are numbers of their own."""
    if isinstance(value, list | tuple):
        return len(value) > 0 and re.fullmatch(pattern, f'{path}[0]') is not None
    return value == 'auto' or (value is None and interval.endswith('or None'))


def _check_kinds(cfg: Config) -> None:
    """What holds other settings is a dict, or a list of dicts."""
    for name, kinds in _KINDS.items():
        if name in cfg or name == 'model':
            _check_kind(name, cfg.get(name), kinds)
    for path in ('protocol.name', 'protocol.version', 'data_about.name'):
        section, key = path.split('.')
        if cfg.get(section):
            _check_kind(path, cfg[section].get(key), (str,))
    parts = {}
    for name, hook in (cfg.get('default_hooks') or {}).items():
        _check_kind(f'default_hooks.{name}', hook, (dict, type(None)))
        parts[f'default_hooks.{name}'] = hook
    for name in ('param_scheduler', 'custom_hooks'):
        for i, part in enumerate(cfg.get(name) or ()):
            _check_kind(f'{name}[{i}]', part, (dict,))
            parts[f'{name}[{i}]'] = part
    if cfg.get('optim_wrapper'):
        _check_kind('optim_wrapper.optimizer', cfg.optim_wrapper.get('optimizer'), (dict,))
    if 'backbone' in cfg.model:
        _check_kind('model.backbone', cfg.model.backbone, (dict,))
    parts |= {'model': cfg.model, 'model.backbone': cfg.model.get('backbone')}
    for path, options in parts.items():
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


_LOADER = rf'({"|".join(LOADERS)})'
# What holds other settings, deeper than the top level.
_HOLDERS = [
    (rf'{_LOADER}((\.dataset)+|\.sampler)', (dict,)),
    (rf'{_LOADER}\.(batch_sampler|collate_fn)', (dict, type(None))),
    (rf'{_LOADER}(\.dataset)+\.pipeline', (list,)),
    (rf'{_LOADER}(\.dataset)+\.pipeline\[\d+\]', (dict,)),
    (r'optim_wrapper\.optimizer\.betas', (list,)),
    (r'optim_wrapper\.(clip_grad|paramwise_cfg)', (dict, type(None))),
    (r'optim_wrapper\.paramwise_cfg\.custom_keys', (dict,)),
    (r'model\.data_preprocessor', (dict, type(None))),
    (r'model\.data_preprocessor\.(mean|std)', (list, type(None))),
    (r'model\.train_cfg\.augments', (dict, list, type(None))),
    (r'model\.train_cfg\.augments\[\d+\]', (dict,)),
    (r'visualizer\.vis_backends', (list, type(None))),
    (r'visualizer\.vis_backends\[\d+\]', (dict,)),
]
# Settings of numbers: (pattern of the path, type, interval, and perhaps one value outside). A list
# is one where its entries match the pattern too.
_SEED = '[0, 4294967295]'
_NUMBERS = [
    (rf'{_LOADER}\.batch_size', int, '[1, inf)'),
    (rf'{_LOADER}\.(prefetch_factor|dataset\.(subset|shots))', int, '[1, inf) or None'),
    (rf'{_LOADER}\.num_workers', int, '[0, 1024]'),
    (rf'{_LOADER}\.timeout', int, '[0, inf)'),
    (rf'{_LOADER}\.sampler\.seed', int, f'{_SEED} or None'),
    (r'train_cfg\.(max_epochs|max_iters|val_interval)', int, '[1, 1000000000]'),
    (r'train_cfg\.val_begin', int, '[0, inf)'),
    (r'num_classes', int, '[1, 1000000000] or None'),
    (r'base_lr_batch', int, '[1, inf)'),
    (r'lr_steps\[\d+\]', float, '(0, 1]'),
    (r'warmup_epochs', float, '[0, inf) or None'),
    (r'warmup_iters', int, '[0, inf) or None'),
    (r'base_lr', float, '[0, 1e6] or None'),
    (r'optim_wrapper\.optimizer\.(lr|weight_decay)', float, '[0, 1e6]'),
    (r'optim_wrapper\.optimizer\.betas(\[\d+\])', float, '[0, 1)'),
    (r'optim_wrapper\.optimizer\.eps', float, '[0, 1]'),
    (r'optim_wrapper\.accumulative_counts', int, '[1, 1000000]'),
    (r'optim_wrapper\.clip_grad\.(max_norm|clip_value)', float, '(0, inf)'),
    (r'optim_wrapper\.paramwise_cfg\.layer_decay_rate', float, '(0, 1]'),
    (r'optim_wrapper\.paramwise_cfg\.\w+_mult', float, '[0, 1e6] or None'),
    (r'optim_wrapper\.paramwise_cfg\.custom_keys\..+\.\w+_mult', float, '[0, 1e6]'),
    (r'param_scheduler\[\d+\]\.(start_factor|end_factor)', float, '[0, 1]'),
    (r'param_scheduler\[\d+\]\.(eta_min|power)', float, '[0, 1e6] or None'),
    (r'param_scheduler\[\d+\]\.(begin|end)', int, '[0, inf)'),
    (r'param_scheduler\[\d+\]\.T_max', int, '[1, inf) or None'),
    (r'randomness\.seed', int, f'{_SEED} or None'),
    (r'env_cfg\.dist_cfg\.timeout', float, '(0, 1e9] or None'),
    (r'env_cfg\.(mp_cfg\.opencv_num_threads|resource_limit)', int, '[0, inf)'),
    (r'log_processor\.window_size', int, '[1, inf)'),
    (r'default_hooks\.(logger|topk_accuracy)\.interval', int, '[1, inf)'),
    (r'default_hooks\.checkpoint\.(interval|max_keep_ckpts)', int, '[1, inf) or -1'),
    (r'(val|test)_evaluator(\[\d+\])?\.topk(\[\d+\])?', int, '[1, inf)'),
    (r'test_cfg\.probe\.(k(\[\d+\])?|epochs|batch_size)', int, '[1, 1000000]'),
    (r'test_cfg\.probe\.(warmup_epochs|seed)', int, '[0, inf)'),
    (r'test_cfg\.probe\.temperature(\[\d+\])?', float, '(0, inf)'),
    (r'test_cfg\.probe\.base_lr', float, '[0, 1e6]'),
    (r'model\.mix_ratio', float, '[0, 1]'),
    (r'model\.contrast\.layer', int, '[0, inf) or None'),
    (r'model\.contrast\.proj_dim', int, '[1, 65536]'),
    (r'model\.contrast\.temperature', float, '(0, inf)'),
    (r'model\.(contrast|distill)\.weight', float, '[0, inf)'),
    (r'model\.backbone\.(drop_rate|drop_path_rate)', float, '[0, 1]'),
    (r'model\.backbone\.mask_ratio', float, '(0, 1) or None'),
    (r'model\.backbone\.(img_size|patch_size)(\[[01]\])?', int, '[1, 16384]'),
    (r'model\.backbone\.arch\.(embed_dims|num_heads)', int, '[1, 65536]'),
    (r'model\.backbone\.arch\.feedforward_channels', int, '[1, 65536]'),
    (r'model\.backbone\.arch\.num_layers', int, '[1, 1000]'),
    (r'model\.backbone\.in_chans', int, '[1, 1024]'),
    (r'model\.backbone\.out_indices(\[\d+\])?', int, '(-inf, inf)'),
    (r'model\.neck\.decoder_(embed_dim|num_heads)', int, '[1, 65536]'),
    (r'model\.neck\.decoder_depth', int, '[0, 1000]'),
    (r'model\.neck\.mlp_ratio', float, '(0, inf)'),
    (r'model\.data_preprocessor\.mean\[\d+\]', float, '(-inf, inf)'),
    (r'model\.data_preprocessor\.std\[\d+\]', float, '(0, inf)'),
    (r'model\.train_cfg\.augments\[\d\]\.alpha', float, '(0, inf)'),
]


def check_number(path: str, value, kind: type, interval: str) -> None:
    """A number lies in an interval, such as '[0, inf) or -1'.

    Raises:
        ConfigError: Names the setting, what was given and what is expected.
    """
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
    elif kind is int:
        limits = f' from {least:.0f} to {most:.0f}'
    if other:
        limits += f', or {other}'
    raise ConfigError(f'{path}={short(value)}: expected {WORDS[kind]}{limits}.')


def nodes(node, path: str = '') -> Iterator[tuple[str, object]]:
    """Everything within a config, with its place: 'model.backbone.out_indices[0]'."""
    named = isinstance(node, Mapping | Config)
    for key, value in node.items() if named else enumerate(node):
        place = f'{path}.{key}'.lstrip('.') if named else f'{path}[{key}]'
        yield place, value
        if _holds_others(value):
            yield from nodes(value, place)


def leaves(value, path: str = '') -> Iterator[tuple[str, object]]:
    """What in a config holds no other values, with its place; an empty list or dict is a leaf."""
    within = nodes(value, path) if _holds_others(value) else ()
    for place, one in ((path, value), *within):
        if not _holds_others(one) or not one:
            yield place, one


def leaf_text(leaf) -> str:
    """A leaf as text, the same in every process: classes and functions by their names."""
    named = leaf if isinstance(leaf, type) or callable(leaf) else None
    return named.__qualname__ if named else repr(leaf)


def _holds_others(value) -> bool:
    return isinstance(value, Mapping | Sequence) and not isinstance(value, str | bytes)
