"""The quick check of a record's form against jsonschema's."""

import json
from importlib.resources import files

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from mixae.results import schema

SCHEMA = json.loads(files('mixae.results').joinpath('run_record.schema.json').read_text())


def test_schema_is_a_valid_schema_and_ships_with_the_package():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda item: st.lists(item, max_size=3) | st.dictionaries(st.text(), item, max_size=3),
    max_leaves=8,
)


def _places(value, at=()):
    yield at
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*at, key))


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_the_quick_check_accepts_nothing_that_jsonschema_refuses(make_record, data):
    curves = dict(c=dict(x_label='', y_label='', x=[1], lines=dict(a=[None]), reference=0.5))
    teacher = dict(epochs=1, images_seen=1, seconds=1, device=None, device_count=1, flops=None)
    record = dict(make_record(curves=curves, pretraining=dict(teacher=teacher)))
    assert schema._fits(record, schema._prepared_schema()), 'a valid record takes the quick way'
    place = data.draw(st.sampled_from([at for at in _places(record) if at]))
    parent = record
    for key in place[:-1]:
        parent = parent[key]
    if data.draw(st.booleans()):
        parent[place[-1]] = data.draw(_JSON)
    elif isinstance(parent, dict):
        other = st.text(max_size=3) | st.sampled_from(['type', 'items', '$ref', 'extra', 'task'])
        parent[data.draw(other)] = parent.pop(place[-1])
    if schema._fits(record, schema._prepared_schema()):
        jsonschema.Draft202012Validator(SCHEMA).validate(record)


def test_the_quick_check_knows_every_keyword_of_the_schema():
    checked = {
        'type', 'const', 'enum', 'anyOf', '$ref', 'required', 'properties', 'additionalProperties',
        'minProperties', 'items', 'pattern', 'minLength', 'minimum',
    }  # fmt: skip
    said = {'$schema', '$defs', 'title', 'description'}

    def keywords(part):
        yield from part
        for name in ('properties', '$defs'):
            for inner in part.get(name, {}).values():
                yield from keywords(inner)
        inner = [part.get(name) for name in ('items', 'additionalProperties')]
        for found in [*inner, *part.get('anyOf', ())]:
            if isinstance(found, dict):
                yield from keywords(found)

    assert set(keywords(SCHEMA)) <= checked | said
