import copy
import json
import multiprocessing
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config

from mixae.errors import RecordError
from mixae.files import file_sha256
from mixae.results import record as rec
from mixae.results.record import (
    config_sha256,
    describe_config,
    digest,
    metric,
    new_record,
    read_record,
    read_records,
    write_record,
)

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads(files('mixae.results').joinpath('run_record.schema.json').read_text())


def test_round_trip_names_time_task_and_id(make_record, tmp_path):
    record = make_record()
    path = write_record(record, tmp_path / 'new' / 'folder')
    assert path.name == f'20250102T030405Z-linear-{record["id"]}.record.json'
    again = read_record(path)
    assert again == record
    assert again.path == path
    assert [found.path for found in read_records(tmp_path)] == [path]
    assert [p.name for p in path.parent.iterdir()] == [path.name], 'no draft stays behind'


def test_filled_in_from_the_process(record_fields):
    fields = record_fields()
    for name in (
        'id',
        'created',
        'command',
        'versions',
        'device',
        'commit',
        'budget',
        'variant',
    ):
        del fields[name]
    fields['cost'] = dict(seconds=1)
    one, two = new_record(**fields), new_record(**fields)
    assert one['id'] != two['id']
    assert one['versions']['torch'] == torch.__version__.split('+')[0]
    assert one['versions']['python'] == '.'.join(map(str, sys.version_info[:3]))
    assert one['device']['count'] == 1
    assert one['device']['cpu_threads'] == torch.get_num_threads()
    assert one['cost'] == dict(seconds=1, images_seen=None, flops=None, peak_memory_bytes=None)
    assert len(one['command']) == len(sys.argv)


def test_scalars_of_numpy_and_torch_become_numbers(make_record):
    metrics = {
        'a': dict(value=np.float64(1.5), unit='%', higher_is_better=True),
        'b': dict(value=torch.tensor(2.5), unit='%', higher_is_better=True),
    }
    record = make_record(metrics=metrics, seed=np.int64(3), command=('python', Path('tools/x.py')))
    assert json.loads(json.dumps(record)) == record
    assert record['metrics']['b']['value'] == 2.5


def test_a_value_without_a_json_form_is_refused(make_record):
    with pytest.raises(RecordError, match='object'):
        make_record(extra=dict(what=object()))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(task='lineal'), "task: 'lineal' is not one of"),
        (dict(metrics={}), 'metrics'),
        (
            dict(metrics={'m': dict(value='81', unit='%', higher_is_better=True)}),
            'metrics.*value',
        ),
        (
            dict(metrics={'top1': metric(float('nan'))}),
            'metrics.top1.value: nan is not a finite',
        ),
        (
            dict(metrics={'top1': metric(float('inf'))}),
            'metrics.top1.value: inf is not a finite',
        ),
        (dict(cost=dict(seconds=float('nan'))), 'cost.seconds'),
        (dict(cost=dict(second=1.0)), "'second' was unexpected"),
        (dict(spam=1), "'spam' was unexpected"),
        (dict(backbone=dict(arch='vit', patch_size=4)), "'img_size' is a required"),
        (dict(pretraining=dict(epochs='many')), "epochs: 'many' is not of type"),
        (dict(pretraining=dict(checkpoint='a/b.pth')), 'checkpoint'),
        (dict(pretraining=dict(teacher=dict(epochs=1))), 'teacher'),
        (dict(pretraining=dict(other=1)), 'other'),
        (dict(created='yesterday'), 'created'),
        (
            dict(curves=dict(t=dict(x_label='', y_label='', x=[1, 2], lines=dict(a=[1])))),
            "1 values in line 'a', 2 in x",
        ),
    ],
)
def test_a_field_that_does_not_fit_is_named(make_record, changes, message):
    with pytest.raises(RecordError, match=message):
        make_record(**changes)


@pytest.mark.parametrize(
    'name', [n for n in SCHEMA['required'] if n not in ('schema_version', 'id', 'created')]
)
def test_a_written_record_has_every_field(make_record, tmp_path, name):
    record = make_record()
    del record[name]
    with pytest.raises(RecordError, match=f"'{name}' is a required property"):
        write_record(record, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_existing_record_is_never_replaced(make_record, tmp_path):
    record = make_record()
    path = write_record(record, tmp_path)
    before = path.read_bytes()
    changed = {**record, 'budget': 'other'}
    with pytest.raises(FileExistsError):
        write_record(changed, tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_without_hard_links_the_same_holds(make_record, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError('no links here')

    monkeypatch.setattr(rec.os, 'link', refuse)
    record = make_record()
    path = write_record(record, tmp_path)
    assert read_record(path) == record
    with pytest.raises(FileExistsError):
        write_record(record, tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def _write(arguments):
    write_record(*arguments)


def test_processes_write_side_by_side(make_record, tmp_path):
    records = [make_record(seed=seed) for seed in range(8)]
    with multiprocessing.get_context('fork').Pool(4) as pool:
        pool.map(_write, [(record, tmp_path) for record in records])
    assert {r['seed'] for r in read_records(tmp_path)} == set(range(8))


# ---- bad files -------------------------------------------------------------------------------


def test_every_truncation_is_noticed(make_record, tmp_path):
    path = write_record(make_record(), tmp_path)
    whole = path.read_text()
    for length in range(0, len(whole.rstrip()), 97):
        path.write_text(whole[:length])
        with pytest.raises(RecordError, match='cut off') as error:
            read_record(path)
        assert str(path) in str(error.value)


def _set_value(document, keys, value):
    for key in keys[:-1]:
        document = document[key]
    document[keys[-1]] = value


@pytest.mark.parametrize(
    ('keys', 'value', 'message'),
    [
        (('schema_version',), 0, 'schema version 0, older than the 1'),
        (('schema_version',), 2, 'schema version 2, newer'),
        (('metrics', 'accuracy/top1', 'value'), 99.0, 'does not match its digest'),
        (('budget',), 'more', 'does not match its digest'),
        (
            ('metrics', 'accuracy/top1', 'value'),
            float('nan'),
            'nan is not a finite number',
        ),
        (
            ('metrics', 'accuracy/top1', 'value'),
            float('-inf'),
            '-inf is not a finite number',
        ),
        (('config', 'path'), '/home/someone/x.py', 'path of one machine'),
        (('command', 1), '--cfg-options=a=/data/x/y', 'path of one machine'),
    ],
)
def test_an_edited_file_is_named_and_the_reason_given(make_record, tmp_path, keys, value, message):
    path = write_record(make_record(), tmp_path)
    content = json.loads(path.read_text())
    _set_value(content, keys, value)
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match=message) as error:
        read_record(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize('text', ['[]', 'null', '3', '"x"'])
def test_json_that_is_no_record(tmp_path, text):
    path = tmp_path / 'x.record.json'
    path.write_text(text)
    with pytest.raises(RecordError, match='not a run record'):
        read_record(path)


@pytest.mark.parametrize(
    'text', ['[' * 200_000, f'{{"schema_version": {"1" * 5000}}}', '\ufeff{}'], ids=len
)
def test_json_that_python_does_not_read(tmp_path, text):
    path = tmp_path / 'x.record.json'
    path.write_text(text)
    with pytest.raises(RecordError, match='not a whole JSON document') as error:
        read_records(tmp_path)
    assert str(path) in str(error.value) and len(str(error.value)) < 600


def test_numbers_and_characters_that_tables_cannot_hold(make_record, tmp_path):
    with pytest.raises(RecordError, match='JSON has no form for'):
        make_record(budget='half of a pair: \ud83d')
    path = write_record(make_record(budget='whole: \U0001f600'), tmp_path)
    assert read_record(path)['budget'] == 'whole: \U0001f600'
    content = json.loads(path.read_text())
    content['budget'] = 'half: \ud83d'
    content['metrics']['accuracy/top1']['value'] = 10**400
    path.write_text(json.dumps(content))
    with pytest.raises(
        RecordError, match='budget: half a character; .*1000.* is not a finite number'
    ):
        read_record(path)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / 'x.record.json'
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(RecordError, match='not UTF-8'):
        read_record(path)


def test_white_space_is_no_edit(make_record, tmp_path):
    record = make_record()
    path = write_record(record, tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert read_record(path) == record


def test_all_bad_files_are_listed_at_once(make_record, tmp_path):
    one, two, good = (write_record(make_record(seed=seed), tmp_path) for seed in range(3))
    one.write_text('{')
    two.write_text(two.read_text().replace('"mae"', '"our"'))
    with pytest.raises(RecordError) as error:
        read_records(tmp_path)
    assert str(one) in str(error.value) and str(two) in str(error.value)
    assert str(good) not in str(error.value)


def test_two_records_for_one_cell(make_record, tmp_path):
    one = write_record(make_record(value=50), tmp_path / 'a')
    two = write_record(make_record(value=51, metrics={'accuracy/top1': metric(51)}), tmp_path / 'b')
    with pytest.raises(RecordError, match='2 records for one cell') as error:
        read_records(tmp_path)
    assert str(one) in str(error.value) and str(two) in str(error.value)


@pytest.mark.parametrize(
    'changes',
    [
        dict(seed=1),
        dict(task='knn'),
        dict(method='mixedae'),
        dict(variant=dict(mode='masked')),
        dict(protocol=dict(name='linear probe', version=2)),
        dict(pretraining=dict(seed=1)),
        dict(pretraining=dict(epochs=24)),
        dict(metrics={'accuracy/top5': metric(80)}),
    ],
)
def test_these_are_other_cells(make_record, tmp_path, changes):
    write_record(make_record(), tmp_path)
    write_record(make_record(**changes), tmp_path)
    assert len(read_records(tmp_path)) == 2


def test_two_records_of_one_id_are_refused_and_copies_of_one_are_one(make_record, tmp_path):
    one = write_record(make_record(id='f' * 12), tmp_path / 'a')
    (tmp_path / 'copy').mkdir()
    (tmp_path / 'copy' / one.name).write_bytes(one.read_bytes())
    (record,) = read_records(tmp_path)
    two = write_record(make_record(id='f' * 12, task='knn'), tmp_path / 'b')
    with pytest.raises(RecordError, match='2 different records have the id f{12}') as error:
        read_records(tmp_path)
    assert str(record.path) in str(error.value) and str(two) in str(error.value)


def test_committed_records_keep_loading():
    assert len(read_records(ROOT / 'docs' / 'results')) > 90


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(RecordError, match='no run record'):
        read_records(tmp_path)
    with pytest.raises(RecordError, match='no such file or folder'):
        read_records([tmp_path / 'nowhere'])


def test_other_json_in_a_folder_is_left_alone(make_record, tmp_path):
    path = write_record(make_record(), tmp_path)
    (tmp_path / 'scalars.json').write_text('{"loss": 1}\n{"loss": 2}')
    assert [record.path for record in read_records([tmp_path, path])] == [path]


def test_a_message_cannot_steer_the_terminal(make_record, tmp_path):
    for seed in (1, 1):
        write_record(make_record(method='a\x1b[2J\u202eb', seed=seed), tmp_path)
    with pytest.raises(RecordError, match='a.x1b.2J.u202eb') as error:
        read_records(tmp_path)
    assert all(line.isprintable() for line in str(error.value).splitlines())


# ---- digest, paths, configurations -----------------------------------------------------------


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda item: st.lists(item, max_size=3) | st.dictionaries(st.text(), item, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), _JSON, max_size=4))
def test_digest_survives_a_json_round_trip_and_key_order(content):
    again = json.loads(json.dumps(content))
    assert digest(dict(reversed(list(again.items())))) == digest(content)


@given(
    st.dictionaries(st.text(min_size=1), st.integers(), min_size=1, max_size=4),
    st.data(),
)
def test_digest_sees_every_change(content, data):
    content.pop('digest', None)
    changed = copy.deepcopy(content)
    key = data.draw(st.sampled_from(sorted(content))) if content else 'new'
    changed[key] = content.get(key, 0) + 1
    assert digest(changed) != digest(content)


def test_new_record_leaves_no_machine_path(make_record, tmp_path):
    record = make_record(
        config=dict(
            path=tmp_path / 'dumped.py',
            sha256='a' * 64,
            text="root = '/data/in1k/train'",
        ),
        command=['/usr/bin/python', 'tools/test.py', f'--work-dir={tmp_path}/run'],
    )
    assert record['config']['path'] == 'dumped.py'
    assert record['config']['text'] == "root = 'train'"
    assert record['command'] == ['python', 'tools/test.py', '--work-dir=run']


def test_config_hash_is_of_the_experiment_not_of_the_place():
    text = (
        "model = dict(type='MAE', depth=4)\nseed = 0\nroot = '{root}'\nwork_dir = '{root}/runs'\n"
    )
    one = Config.fromstring(text.format(root='/home/a/data'), '.py')
    two = Config.fromstring(text.format(root='/mnt/b/data'), '.py')
    other = Config.fromstring(text.format(root='/mnt/b/data').replace('=4', '=5'), '.py')
    assert config_sha256(one) == config_sha256(two) != config_sha256(other)
    assert config_sha256(one) == config_sha256(one.to_dict())


def test_config_hash_of_classes_and_functions_is_stable_across_processes():
    code = (
        'from mixae.results.record import config_sha256; import json;'
        'print(config_sha256(dict(a=dict(type=json.JSONDecoder), b=json.dumps)))'
    )
    there = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    config = dict(a=dict(type=json.JSONDecoder), b=json.dumps)
    assert there.stdout.split()[-1] == config_sha256(config)
    assert config_sha256(config) != config_sha256(config | dict(b=json.loads))


def test_describe_config_fits_a_record(make_record):
    config = Config.fromstring("model = dict(type='MAE')\n", '.py')
    record = make_record(config=describe_config(config, 'configs/mae/x.py'))
    assert 'MAE' in record['config']['text']
    assert record['config']['path'] == 'configs/mae/x.py'


def test_file_sha256(tmp_path):
    path = tmp_path / 'empty'
    path.write_bytes(b'')
    # the well-known hash of nothing (FIPS 180-2 test vector)
    assert file_sha256(path) == 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
