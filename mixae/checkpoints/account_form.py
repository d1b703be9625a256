"""The form of a checkpoint's account of itself, which is checked whenever it is read.

What an account tells goes into the records of evaluations that take hours. One that no record can
hold is refused before they start.
"""

import json
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path

from jsonschema import Draft202012Validator

from mixae.errors import CheckpointError

KEY = 'mixae'
NULL = dict(type='null')


def check_account(account, path: str | Path) -> None:
    """Make sure that every entry of an account has the form that it has in run records.

    An entry may be missing or None: then it is unknown.

    Args:
        account: What a checkpoint has under ``'mixae'``.
        path (str | Path): The checkpoint, for the message.

    Raises:
        CheckpointError: Names an entry of another form.
    """
    error = next(_validator().iter_errors(account), None)
    if error is not None:
        while error.context:  # of 'this or null', why it is not this
            error = next(cause for cause in error.context if cause.schema != NULL)
        problem = f'{error.json_path.removeprefix("$").removeprefix(".")}: {error.message}'
    else:
        # Of the schedule no record takes anything, and a setting may be infinite.
        told = {key: value for key, value in account.items() if key != 'schedule'}
        problem = next(_unfit(told), None)
    if problem is not None:
        raise CheckpointError(
            f'{path} is damaged in what it tells of its own training ({KEY!r} in it). '
            f'{" ".join(problem.lstrip(": ").split())[:300]}. Use another copy, or remove '
            f'{KEY!r} from it: what it was trained on is then unknown.'
        )


def is_text(value: str) -> bool:
    """Whether a text holds neither control characters, such as a terminal's, nor half of one."""
    return not any(unicodedata.category(c) in ('Cc', 'Cs') and c not in '\n\t' for c in value)


@cache
def _validator() -> Draft202012Validator:
    record = json.loads(files('mixae.results').joinpath('run_record.schema.json').read_text())
    defs, fields = record['$defs'], record['properties']
    shared = {key: fields[key] for key in ('method', 'variant', 'curves')}
    form = dict(
        **{k: v for k, v in defs['pretraining']['properties'].items() if k != 'checkpoint'},
        **shared,
        length=dict(type='string'),
        changed=dict(type='object', additionalProperties=dict(type='string')),
        n_train=defs['count'],
        images=dict(type='array', items=defs['sha256']),
        iterations=defs['count'],
        max_iters=defs['count'],
        stopped_early=dict(type='boolean'),
        flops_per_image=defs['amount'],
        backbone=dict(type='object'),
        pseudo_labels=dict(type='object'),
        schedule=_schedule(defs),
        origin=dict(
            type='object',
            properties=shared
            | dict(curves=_or_null(fields['curves']), pretraining=fields['pretraining']),
            required=['method', 'variant', 'curves', 'pretraining'],
        ),
    )
    properties = {key: _or_null(value) for key, value in form.items()}
    return Draft202012Validator({'$defs': defs, 'type': 'object', 'properties': properties})


def _schedule(defs: dict) -> dict:
    """What a resumed run must have in common with the one before."""
    counts = ('n_train', 'iters_per_epoch', 'max_iters')
    properties = dict.fromkeys(('world_size', 'batch_size', 'accumulation'), defs['devices'])
    properties |= dict.fromkeys(counts, defs['count']) | dict(seed=dict(type=['integer', 'null']))
    plain = dict(type=['string', 'number', 'boolean', 'null'])
    properties['settings'] = dict(type='object', additionalProperties=plain)
    return dict(type='object', properties=properties)


def _or_null(form: dict) -> dict:
    return dict(anyOf=[form, NULL])


def _unfit(value, where: str = '') -> Iterator[str]:
    """What no schema tells: numbers without an end, control characters, curves of uneven lines."""
    if isinstance(value, dict):
        for name, curve in value.items() if where.endswith('curves') else ():
            if any(len(line) != len(curve['x']) for line in curve['lines'].values()):
                yield f'{where}.{name}: a line has another number of values than x'
        for key, item in value.items():
            yield from _unfit(item, f'{where}.{key}'.lstrip('.'))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unfit(item, f'{where}[{index}]')
    elif isinstance(value, int | float):
        if not -sys.float_info.max <= value <= sys.float_info.max:
            yield f'{where}: {str(value)[:20]} is not a finite number'
    elif isinstance(value, str) and not is_text(value):
        yield f'{where}: {value!a} is no plain text'
