"""Overrides of a config from the command line: what is typed arrives."""

import argparse
import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import yaml
from mmengine.config import Config

from mixae.derive.checks import check_top_level
from mixae.derive.facts import AUTO, REQUIRED
from mixae.derive.values import TEXTS, short
from mixae.errors import ConfigError

_DEEPEST = 50  # of keys and of brackets
# What of a config is an evaluation's protocol ...
_OF_PROTOCOL = re.compile(
    r'^(base_lr|base_lr_batch|warmup_epochs|warmup_iters|lr_steps)$'
    r'|^(optim_wrapper|param_scheduler|train_cfg|val_cfg|test_cfg|custom_hooks)\b'
    r'|^model\.(?!backbone\.)'
    r'|^model\.backbone\.(out_type|out_indices|final_norm|norm_outputs|frozen|drop_path_rate)$'
    r'|^train_dataloader\.(batch_size|drop_last|sampler|batch_sampler)\b'
    r'|\.dataset\.(hold_out|part|shots|shots_seed|files)$|\.pipeline\b'
)
# ... and what in it is told by the protocol's name, or changes no number.
_IN_NAME = re.compile(
    r'^train_cfg\.(max_epochs|max_iters|val_interval|val_begin|dynamic_intervals)\b'
    r'|^test_cfg\.probe\.(k|epochs)$'
)
_FROZEN = ('linear', 'attentive', 'knn')
# Of a whole model also what the hardware asks for: its learning rate follows the batch.
_OF_HARDWARE = re.compile(
    r'^train_dataloader\.(batch_size|drop_last)$'
    r'|^optim_wrapper\.(type|dtype|loss_scale|accumulative_counts)$'
)
_WORDS = {'true': True, 'false': False, 'none': None, 'null': None}


def add_options_argument(parser: argparse.ArgumentParser, name: str, what: str) -> None:
    """An argument of KEY=VALUE pairs, for :func:`merge_options`."""
    parser.add_argument(
        name,
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help=f'overrides of {what}: nested keys with dots; lists as "KEY=[a, b]"; a value that '
        'replaces a string is taken as it is typed',
    )


def merge_options(cfg: Config, pairs: Sequence[str]) -> None:
    """Override settings of a config by KEY=VALUE pairs, in place.

    A value that replaces a string stays the string that was typed, blanks, commas and digits
    included. Any other is read as Python writes it (numbers, True, None, "strings", lists, tuples,
    dicts) or, where that fails, as a list of words or a word. mmengine's ``DictAction`` takes
    blanks out of strings and cuts them at commas.

    Raises:
        ConfigError: A pair without a key or a value, a path into what has no keys, brackets that
            do not match, a key that nothing reads, or two that contradict each other.
    """
    parsed = {}
    for pair in pairs:
        key, equals, text = pair.partition('=')
        if not equals or not all(key.split('.')):
            raise ConfigError(f'{pair!r}: expected KEY=VALUE, with nested keys as a.b.c=VALUE.')
        if not text:
            raise ConfigError(
                f'{key}= has no value: {key}=None turns it off, {key}=\'""\' is an empty string.'
            )
        current = '' if key.split('.')[-1] in TEXTS else _current(cfg, key)
        parsed[key] = parse_value(text, current, key)
    merge_values(cfg, parsed)


def merge_values(cfg: Config, values: Mapping[str, object]) -> None:
    """Override settings of a config by values with dotted keys, in place.

    Raises:
        ConfigError: A path into what has no keys, an entry of a list that is no dict, a key that
            nothing reads, two that contradict each other, or an empty dict, which changes nothing.
    """
    values = dict(values)
    for key, value in values.items():
        current = _current(cfg, key)
        _check_merge(cfg, key, value, current)
        if key.count('.') > _DEEPEST:
            raise ConfigError(f'{short(key)}: nested too deep.')
        if isinstance(value, Mapping) and not isinstance(current, Mapping | list | type(None)):
            values[key] = {**value, '_delete_': True}  # mmengine merges a dict into a dict alone
        parts = key.split('.')
        for parent in ('.'.join(parts[:n]) for n in range(1, len(parts))):
            if not isinstance(values.get(parent, {}), Mapping | list):
                raise ConfigError(f'{parent}={values[parent]!r} leaves no place for {key}.')
    check_top_level(cfg, values)
    before = _protocol_settings(cfg)
    cfg.merge_from_dict(values)
    if not any(key.split('.')[0] == 'protocol' for key in values):
        _note_changes(cfg, before)


def _protocol_settings(cfg: Config) -> dict[str, object]:
    """What an evaluation's protocol consists of, by dotted keys; nothing for pre-training.

    Left out are what the protocol's name has already, and what says which encoder and which data.
    """
    if not cfg.get('task') or not cfg.get('protocol'):
        return {}
    return {
        path: value
        for path, value in _settings(cfg)
        if _OF_PROTOCOL.search(path)
        and not _IN_NAME.search(path)
        and (cfg.task in _FROZEN or not _OF_HARDWARE.search(path))
    }


def _settings(value, path: str = '') -> Iterator[tuple[str, object]]:
    parts = {}
    if isinstance(value, Mapping | Config):
        parts = {f'{path}.{key}'.lstrip('.'): part for key, part in value.items()}
    elif isinstance(value, list | tuple) and any(isinstance(part, Mapping) for part in value):
        parts = {f'{path}[{index}]': part for index, part in enumerate(value)}
    elif path == 'test_cfg.probe.temperature' and isinstance(value, list | tuple):
        value = value[0] if value else None  # of several the first is the protocol's
    for place, part in parts.items():
        yield from _settings(part, place)
    if not parts:
        yield path, list(value) if isinstance(value, tuple) else value


def _note_changes(cfg: Config, before: Mapping[str, object]) -> None:
    """Note which settings of an evaluation are no longer its protocol's: ``protocol.changed``.

    It is in the config, and so also in the copy that a run leaves, and in records.
    """
    now = _protocol_settings(cfg)
    changed = {
        path: str(now.get(path))
        for path in sorted(before.keys() | now.keys())
        if before.get(path) != now.get(path)
    }
    if changed:
        cfg.protocol.changed = {**cfg.protocol.get('changed', {}), **changed}


def _check_merge(cfg: Config, key: str, value, current) -> None:
    """mmengine merges dicts into dicts, and an entry of a list by its index if both are dicts."""
    parent, _, last = key.rpartition('.')
    if parent and isinstance(_current(cfg, parent), list | tuple):
        if not isinstance(current, Mapping):
            raise ConfigError(f'{key}={short(value)}: give the whole list, {parent}=[...].')
        if not isinstance(value, Mapping):
            raise ConfigError(f'{key}={short(value)}: expected dict(...).')
    if current and isinstance(current, Mapping | list) and isinstance(value, Mapping) and not value:
        raise ConfigError(
            f'{key}={{}} changes nothing, as what it gives is merged with what is there: '
            f'{key}=None turns it off.'
        )


def merge_options_file(cfg: Config, path: str | Path) -> None:
    """Override settings of a config by a JSON file, {"key": value}, in place.

    Raises:
        ConfigError: A file that cannot be read, or a key that nothing reads.
    """
    try:
        options = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f'--options-file {path} cannot be read: {error}.') from error
    if not isinstance(options, dict):
        raise ConfigError(f'--options-file {path} holds no JSON object, {{"key": value}}.')
    merge_values(cfg, options)


def _current(cfg: Config, key: str):
    """The value that an override replaces; None where there is none."""
    node, path = cfg, []
    for part in key.split('.'):
        if isinstance(node, list | tuple):
            if not part.isdecimal() or int(part) >= len(node):
                raise ConfigError(
                    f'{key}: {".".join(path)} is a list of {len(node)}; expected an index from 0 '
                    f'to {len(node) - 1}, got {part!r}.'
                )
            node = node[int(part)]
        elif isinstance(node, dict | Config):
            node = node.get(part)
        elif node is not None:
            raise ConfigError(f'{key}: {".".join(path)} is {node!r} and has no {part!r}.')
        path.append(part)
    return node


def parse_value(text: str, current=None, key: str = 'value'):
    """The value of an override.

    Args:
        text (str): As it was typed.
        current: What it replaces; a string keeps the text as it is.
        key (str): For messages.

    Raises:
        ConfigError: Brackets that do not match, or nest too deep.
    """
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in '\'"'
    if quoted:
        return text[1:-1]
    # Both words stand for what is no string of a person's.
    if isinstance(current, str) and current not in (AUTO, REQUIRED) and text.lower() != 'none':
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if text[0] in '[({':
        depths = accumulate((c in '[({') - (c in '])}') for c in text)
        if max(depths) > _DEEPEST:
            raise ConfigError(f'{key}={short(text)}: nested too deep.')
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        value = _words(text, current, key)
    if isinstance(value, tuple) and not text.startswith('('):
        value = list(value)  # 8,11
    return value


def _words(text: str, current, key: str):
    """A number such as nan, a list of words, or a word."""
    if text[0] in '[({':
        try:
            value = yaml.load(f'[{text[1:-1]}]' if text[0] == '(' else text, yaml.BaseLoader)
            json.dumps(value)  # an anchor may make a list that holds itself
        except (yaml.YAMLError, ValueError, TypeError, RecursionError):
            value = None
        if value is None or text[-1] != {'[': ']', '(': ')', '{': '}'}[text[0]]:
            raise ConfigError(f'{key}={short(text)}: its brackets do not match.')
        value = _read_words(value)
        return tuple(value) if text[0] == '(' else value
    if isinstance(current, list | tuple) and ',' in text:
        return [_read_words(word.strip()) for word in text.split(',')]
    return _read_words(text)


def _read_words(value):
    """Numbers, True, False and None in what YAML has cut into words, and in a word."""
    if isinstance(value, dict):
        return {key: _read_words(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_read_words(one) for one in value]
    if value.lower() in _WORDS:
        return _WORDS[value.lower()]
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            pass
    return value
