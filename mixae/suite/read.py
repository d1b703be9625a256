"""A suite's file: what may stand in it, each entry checked before anything is planned."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config

from mixae.datasets.digit_scenes.options import DEFAULTS
from mixae.derive.checks import nearest
from mixae.derive.config import drop_own_scope
from mixae.derive.values import in_words
from mixae.errors import SuiteError
from mixae.files import ROOT, find_config
from mixae.results.names import METHODS
from mixae.results.table import parse_columns
from mixae.results.write import PUBLISHED

SCRATCH = 'scratch'

# What may stand in a suite and in its groups, and what must.
_LIST, _NUMBER = (list, tuple), (int, float)
_MOST = 4096  # processes
_SUITE = dict(title=str, seeds=_LIST, gpus=int, budget=str, on_change=str, prepare=_LIST)
_SUITE |= dict(columns=_LIST, curves=_LIST, checks=dict, published=str)
_RUN = dict(title=str, config=str, options=dict, seconds=_NUMBER, gpus=int)
_ANALYSIS = dict(title=str, tool=str, of=str, arguments=_LIST, seconds=_NUMBER)
_BAR = dict(gain=_NUMBER, least=_NUMBER)
_GROUPS = {
    'encoders': (
        dict(title=str, model=str, checkpoint=str, part=str, model_args=dict, card=dict),
        (),
    ),
    'pretrain': (dict(**_RUN, teacher=str, seeds=_LIST), ('config',)),
    'evaluate': (
        dict(**_RUN, tool=str, scratch=str, scratch_title=str, only=_LIST, also_at=_LIST),
        ('config', 'tool'),
    ),
    'analyses': (_ANALYSIS, ('tool', 'of', 'arguments')),
    'pictures': (_ANALYSIS, ('tool', 'of', 'arguments')),
}


def read_suite(path: Path) -> dict:
    """The entries of a suite's file, each of its type, with defaults for those not given."""
    if not path.is_file():
        if path.parts[:1] == ('configs',) and (ROOT / path).is_file():
            name = path.relative_to('configs').as_posix()
            raise SuiteError(f'There is no suite {path} here. Write mixae::{name}.')
        there = [str(p.relative_to(ROOT)) for p in (ROOT / 'configs/suites').rglob('*.py')]
        raise SuiteError(f'There is no suite {path}{nearest(str(path), there)}')
    # Names with an underscore are the config's own helpers.
    given = {k: v for k, v in read_config(path).to_dict().items() if not k.startswith('_')}
    if 'model' in given:
        raise SuiteError(
            f'{path} is the config of one run, for tools/train.py or tools/test.py. A suite has '
            'pretrain, evaluate and columns (docs/suites.md).'
        )
    _check(f'suite {path.stem}', given, _SUITE | dict.fromkeys(_GROUPS, dict), ('columns',))
    cfg = dict(title=path.stem, seeds=[0], gpus=1, budget='', prepare=(), curves=(), checks={})
    cfg |= dict(on_change='stop', published='none') | given
    for group in _GROUPS:
        # None drops what a base has.
        cfg[group] = {k: v for k, v in cfg.get(group, {}).items() if v is not None}
        for name, entry in cfg[group].items():
            _check(f'{group}.{name}', entry, *_GROUPS[group])
            check_name(f'{group}.{name}', name)
            found = {key: _place(entry[key]) for key in ('config', 'scratch') if key in entry}
            cfg[group][name] = {**entry, **found}
    if not cfg['evaluate'] and not cfg['analyses']:
        raise SuiteError(f'suite {path.stem}: nothing in `evaluate`.')
    for name, known in (('on_change', ('stop', 'redo')), ('published', PUBLISHED)):
        if cfg[name] not in known:
            raise SuiteError(f'{name}={cfg[name]!r} is neither {" nor ".join(map(repr, known))}.')
    if unknown := set(cfg['prepare']) - DEFAULTS.keys():
        raise SuiteError(f'prepare: unknown {sorted(unknown)}; known are {sorted(DEFAULTS)}.')
    # Whether there is a column task:metric is known once there is a record with it.
    plain = [name for name in cfg['columns'] if ':' not in name]
    if plain or not cfg['columns']:
        parse_columns(plain)
    if unknown := set(cfg['curves']) - set(cfg['columns']):
        raise SuiteError(f'curves: {sorted(unknown)} are no columns of the suite.')
    for column, bar in cfg['checks'].get('pretraining_pays', {}).items():
        if column not in cfg['columns']:
            raise SuiteError(
                f'checks.pretraining_pays.{column}: no such column; there are '
                f'{list(cfg["columns"])}.'
            )
        place, types = f'checks.pretraining_pays.{column}', _BAR | dict.fromkeys(METHODS, dict)
        _check(place, bar, types, ('gain',))
        for method in bar.keys() & METHODS.keys():
            _check(f'{place}.{method}', bar[method], _BAR, ('gain',))
    return cfg


def _place(config: str) -> str:
    """A config as runs name it: from the checkout's root, or whole where it is somebody's own."""
    path = find_config(config)
    if (ROOT / path).is_file():
        return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
    return str(path.resolve()) if path.is_file() else str(path)


def read_config(path: Path) -> Config:
    """A config file.

    Raises:
        SuiteError: It cannot be read.
    """
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is a program, and fails as one
        words = ' '.join(str(error).split())
        raise SuiteError(f'{path} is no config: {type(error).__name__}: {words}') from error
    drop_own_scope(cfg)
    return cfg


def check_name(place: str, name: str) -> None:
    """A name can be that of a folder.

    Raises:
        SuiteError: Begins with the place that it is from.
    """
    if not re.fullmatch(r'\w[\w.+=-]{,99}', name) or name in (SCRATCH, 'pretrain'):
        raise SuiteError(
            f'{place}: a folder is called so. Use up to 100 letters, digits and . _ + = -, '
            f"and not {SCRATCH!r} or 'pretrain', which have a meaning."
        )


def check_whole(name: str, value, least: int = 1) -> None:
    """Make sure that a value is a whole number, ``least`` or more, and no slip of the keyboard.

    Raises:
        SuiteError: It is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SuiteError(f'{name}={value!r}: expected a whole number, {least} or more.')
    if name.endswith(('gpus', 'jobs')) and value > _MOST:
        raise SuiteError(f'{name}={value}: expected a whole number, {_MOST} or less.')


def _check(place: str, given: Mapping, types: dict, required: Sequence[str]) -> None:
    """Make sure that an entry has what it must, and nothing unknown or of a wrong type."""
    if not isinstance(given, Mapping):
        raise SuiteError(f'{place}: expected dict(...), not {given!r}.')
    if unknown := sorted(set(given) - types.keys()):
        raise SuiteError(f'{place}: unknown {unknown}; known are {sorted(types)}.')
    if missing := [key for key in required if key not in given]:
        raise SuiteError(f'{place}: {missing} must be given.')
    for key, value in given.items():
        if not isinstance(value, types[key]):
            kinds = types[key] if isinstance(types[key], tuple) else (types[key],)
            raise SuiteError(f'{place}: {key}={value!r}: expected {in_words(kinds)}.')
    if 'gpus' in given:
        check_whole(f'{place}.gpus', given['gpus'])
    try:
        json.dumps(given.get('options'))
    except TypeError as error:
        raise SuiteError(f'{place}.options must be what JSON can hold: {error}.') from None
