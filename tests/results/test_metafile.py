"""Model index files: what they hold comes from records, and the committed ones follow from ours."""

from pathlib import Path

import pytest
import yaml

from mixae.errors import TableError
from mixae.results.metafile import to_metafile
from mixae.results.record import metric, read_records

ROOT = Path(__file__).parents[2]


def test_an_entry_a_pretraining_run_with_its_evaluations(make_record):
    records = [
        make_record(task=task, pretraining=dict(seed=seed, sha256=str(seed) * 64), value=50 + seed)
        for seed in (0, 1)
        for task in ('linear', 'knn')
    ]
    records.append(make_record(method='mixedae'))
    records.append(make_record(method='mae', pretraining=None))
    index = yaml.safe_load(to_metafile(records, 'mae'))
    (collection,) = index['Collections']
    assert collection['Name'] == 'MAE' and collection['Paper']['URL'].startswith('https://arxiv')
    first, second = index['Models']
    assert first['Metadata']['Epochs'] == 12 and first['Weights'] is None
    assert [result['Metrics'] for result in second['Results']] == [{'Top 1 Accuracy': 51.0}] * 2
    assert {model['In Collection'] for model in index['Models']} == {'MAE'}
    assert len({model['Name'] for model in index['Models']}) == 2
    assert {r['Record'] for r in first['Results']} == {r['id'] for r in records[:2]}


def test_every_model_has_a_name_of_its_own(make_record):
    runs = [
        dict(sha256='1' * 64),
        dict(sha256='2' * 64),  # the same seed on another machine
        dict(sha256='3' * 64, part='3e-of-12e', epochs=3),
        dict(sha256='4' * 64, epochs=3),
        dict(sha256=None),
    ]
    index = yaml.safe_load(to_metafile([make_record(pretraining=run) for run in runs], 'mae'))
    names = [model['Name'].removeprefix('mae_vit-tiny-p4_cifar-10-') for model in index['Models']]
    assert sorted(names) == [
        '12e_seed0_11111111',
        '12e_seed0_22222222',
        '12e_seed0_unknown',
        '3e-of-12e_seed0',
        '3e_seed0',
    ]
    parts = [model['Metadata'].get('Part of a Schedule') for model in index['Models']]
    assert parts.count('3e-of-12e') == 1 and parts.count(None) == 4


def test_shares_are_given_in_percent_and_unknown_costs_left_out(make_record):
    record = make_record(
        metrics={'coco/bbox_mAP': metric(0.4567, 'fraction')},
        task='detection',
        pretraining=dict(flops=None),
    )
    (model,) = yaml.safe_load(to_metafile([record], 'mae'))['Models']
    assert model['Results'][0]['Metrics'] == {'box AP': 45.67}
    assert 'FLOPs of the Run' not in model['Metadata']


def test_a_run_that_little_is_known_of(make_record):
    unknown = dict.fromkeys(['sha256', 'config', 'device', 'device_count', 'seconds', 'epochs'])
    records = [make_record(pretraining=unknown | dict(seed=seed)) for seed in (0, 1)]
    first, second = yaml.safe_load(to_metafile(records, 'mae'))['Models']
    assert first['Config'] is None and 'Training Resources' not in first['Metadata']
    assert 'none' not in first['Name'] and first['Name'] != second['Name']
    assert [len(model['Results']) for model in (first, second)] == [1, 1]


def test_names_hold_what_would_break_yaml(make_record):
    record = make_record(variant={'mix': "{a: 'b'} # <&>"}, method='mixedae')
    (model,) = yaml.safe_load(to_metafile([record], 'mixedae'))['Models']
    assert "{a:'b'}" in model['Name']


def test_names_cannot_steer_the_terminal(make_record):
    text = to_metafile([make_record(variant={'v': 'a\x1b[2J\u202eb'})], 'mae')
    assert all(line.isprintable() for line in text.splitlines())


def test_what_cannot_be_written_is_said(make_record):
    with pytest.raises(TableError, match="method='dino': expected one of"):
        to_metafile([make_record()], 'dino')
    with pytest.raises(TableError, match='none of 1 records is of a pre-trained imae'):
        to_metafile([make_record()], 'imae')


@pytest.mark.parametrize('method', ['mae', 'mixedae', 'imae'])
def test_the_committed_index_is_what_the_committed_records_give(method):
    records = read_records([ROOT / 'docs' / 'results'])
    path = ROOT / 'configs' / method / 'metafile.yml'
    if not any(record['method'] == method and record['pretraining'] for record in records):
        assert not path.exists()
        return
    assert path.read_text() == to_metafile(records, method)


def test_the_index_of_all_methods_names_files_that_exist():
    files = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    assert files and all((ROOT / file).is_file() for file in files)
    assert set(files) == {
        str(path.relative_to(ROOT)) for path in (ROOT / 'configs').glob('*/metafile.yml')
    }
    for file in files:
        index = yaml.safe_load((ROOT / file).read_text())
        assert (ROOT / index['Collections'][0]['README']).is_file()
        assert all((ROOT / model['Config']).is_file() for model in index['Models'])
