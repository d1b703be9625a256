"""Whether a document has the form of a run record: `run_record.schema.json`, and what is not in it.

Thousands of records are read for a table, and jsonschema takes a millisecond for each. So a quick
check comes first, and jsonschema explains what that one does not accept.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from mixae.results.environment import is_machine_path

_MAX = sys.float_info.max
_TYPES = {
    'array': (list,),
    'boolean': (bool,),
    'integer': (int,),
    'null': (type(None),),
    'number': (int, float),
    'object': (dict,),
    'string': (str,),
}


def find_problems(record: Mapping) -> list[str]:
    """What is wrong with a record, a line each: its form, numbers not finite, machine paths."""
    problems = []
    if not (_fits(dict(record), _prepared_schema()) and _is_sound(record)):
        problems = [*_problems_of_form(record), *_problems_of_values(record)]
    for where, curve in (record.get('curves') or {}).items() if not problems else ():
        for line, values in curve['lines'].items():
            if len(values) != len(curve['x']):
                problems.append(
                    f'curves.{where}: {len(values)} values in line {line!r}, {len(curve["x"])} in x'
                )
    return problems


@cache
def _schema() -> dict:
    return json.loads(Path(__file__).with_name('run_record.schema.json').read_text('utf-8'))


# ---- quickly: yes, or perhaps not ------------------------------------------------------------


@cache
def _prepared_schema() -> dict:
    return _prepare(_schema())


def _prepare(part: dict | bool) -> dict | bool:
    """A part of the schema with its references followed, and its types as tuples of Python's."""
    if isinstance(part, bool):
        return part
    if '$ref' in part:
        return _prepare(_schema()['$defs'][part['$ref'].rsplit('/', 1)[-1]])
    types = part.get('type', [])
    types = [types] if isinstance(types, str) else types
    prepared = part | {
        'type': tuple(kind for name in types for kind in _TYPES[name]),
        'required': set(part.get('required', ())),
    }
    for name in {'items', 'additionalProperties'} & part.keys():
        prepared[name] = _prepare(part[name])
    if 'anyOf' in part:
        prepared['anyOf'] = [_prepare(choice) for choice in part['anyOf']]
    if 'properties' in part:
        prepared['properties'] = {key: _prepare(item) for key, item in part['properties'].items()}
    return prepared


def _fits(value, schema: dict) -> bool:
    """Whether a value fits a part of the prepared schema.

    It knows the keywords that our schema uses, and may say no where jsonschema says yes.
    """
    kind = type(value)
    if 'anyOf' in schema:
        return any(_fits(value, part) for part in schema['anyOf'])
    if 'const' in schema:
        return kind is type(schema['const']) and value == schema['const']
    if 'enum' in schema:
        return kind is str and value in schema['enum']
    if kind not in schema['type']:
        return False
    if kind is dict:
        if not value.keys() >= schema['required'] or len(value) < schema.get('minProperties', 0):
            return False
        known, others = schema.get('properties', {}), schema.get('additionalProperties', True)
        for name, item in value.items():
            part = known.get(name, others)
            if part is False or (part is not True and not _fits(item, part)):
                return False
        return True
    if kind is list:
        items = schema['items']
        if items.keys() == {'type', 'required'}:
            return set(map(type, value)) <= set(items['type'])
        return all(_fits(item, items) for item in value)
    if kind is str:
        pattern = schema.get('pattern')
        long_enough = len(value) >= schema.get('minLength', 0)
        return long_enough and (pattern is None or re.search(pattern, value) is not None)
    return value is None or value >= schema.get('minimum', -_MAX)


def _is_sound(value) -> bool:
    """Whether every number is finite, and every text whole and without a path of a machine."""
    if isinstance(value, str):
        return not is_machine_path(value) and _is_whole(value)
    if isinstance(value, dict):
        return all(map(_is_whole, value)) and all(map(_is_sound, value.values()))
    if isinstance(value, list):
        return all(map(_is_sound, value))
    return value is None or -_MAX <= value <= _MAX


def _is_whole(text: str) -> bool:
    """Whether there is no half character (a lone surrogate) in a text."""
    return text.isascii() or not any('\ud800' <= character <= '\udfff' for character in text)


# ---- in words --------------------------------------------------------------------------------


def _problems_of_form(record: Mapping) -> Iterable[str]:
    from jsonschema import Draft202012Validator  # here: seldom needed, and slow to import

    for error in Draft202012Validator(_schema()).iter_errors(record):
        where = error.json_path.removeprefix('$').lstrip('.') or 'document'
        yield f'{where}: {_first_cause(error)}'


def _first_cause(error) -> str:
    # 'X or null' says only that neither fits; why X does not is what helps.
    causes = [cause for cause in error.context or () if cause.relative_schema_path[0] != 0]
    if not causes:
        return error.message
    path = '.'.join(map(str, causes[0].relative_path))
    return f'{path}: {_first_cause(causes[0])}' if path else _first_cause(causes[0])


def _problems_of_values(record: Mapping) -> Iterable[str]:
    for where, value in _leaves(record):
        if isinstance(value, (int, float)) and not -_MAX <= value <= _MAX:
            yield f'{where}: {str(value)[:20]} is not a finite number'
        if isinstance(value, str) and is_machine_path(value):
            yield f'{where}: holds a path of one machine; make it relative (`portable`)'
        if not all(map(_is_whole, (where, value if isinstance(value, str) else ''))):
            yield f'{where}: half a character'


def _leaves(value, where: str = '') -> Iterable[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f'{where}.{key}'.lstrip('.'))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f'{where}[{index}]')
    else:
        yield where, value
