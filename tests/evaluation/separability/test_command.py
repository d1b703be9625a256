"""Table 4 from configs and checkpoints."""

import hashlib
from copy import deepcopy

import pytest
import torch

from mixae.errors import CheckpointError, ConfigError, DataError
from mixae.evaluation.separability.command import format_table, name_rows, table_4
from mixae.evaluation.separability.protocol import Protocol
from mixae.results.record import read_records


def test_the_table_states_its_protocol():
    scores = dict(nrmse=0.1234, r2=-3.0, cosine=0.5)
    table = format_table({'i-MAE': dict(fore=scores, aft=scores, unconverged=2)}, Protocol())
    assert '| NRMSE ↓ | i-MAE | 0.123 | 0.123 |' in table and '| R² ↑ | i-MAE | -3.000' in table
    for stated in (
        'mask ratio 0.75',
        'share 0.3',
        'uniform over',
        'rms',
        'uniform_average',
        '2 outputs',
    ):
        assert stated in table


def test_table_4_from_configs_and_checkpoints_with_records(trained, tmp_path):
    root, config, data = trained
    imae, mae = str(root / 'imae.pth'), str(root / 'mae.pth')
    results = table_4(
        config,
        [imae],
        mae,
        data,
        Protocol(mask_ratio=0.5, same_class_ratio=0.5),
        without_distillation=imae,
        folder=tmp_path,
    )
    assert list(results) == ['MAE (baseline)', 'i-MAE w/o distillation', 'i-MAE']
    assert results['i-MAE w/o distillation'] == results['i-MAE']
    records = read_records([tmp_path])
    assert len(records) == 3
    record = next(r for r in records if r['variant'].get('row') == 'i-MAE')
    assert record['metrics']['aft/r2']['value'] == results['i-MAE']['aft']['r2']
    assert record['metrics']['fore/nrmse']['higher_is_better'] is False
    assert record['protocol']['version'] == '1; mask_ratio=0.5; same_class_ratio=0.5'
    assert record['dataset']['n_train'] == 16 and record['dataset']['n_test'] == 10
    assert record['pretraining']['checkpoint'] == 'imae.pth'
    with pytest.raises(ConfigError, match='train_features'):
        table_4(config, [imae], mae, config, Protocol())


def test_a_lasso_is_not_measured_on_what_it_was_fitted_on(trained):
    root, config, data = trained
    same = deepcopy(data)
    same.test_dataloader.dataset.dataset.data_prefix = 'train'
    with pytest.raises(DataError, match='16 of the 16 test images are training images'):
        table_4(config, [str(root / 'imae.pth')], str(root / 'mae.pth'), same, Protocol())


def test_rows_and_teacher_must_belong_together(trained, tmp_path):
    root, config, data = trained
    state = torch.load(root / 'imae.pth')['state_dict']
    digest = hashlib.sha256((root / 'mae.pth').read_bytes()).digest()

    def saved(name, sha256):
        buffer = dict(teacher_sha256=torch.tensor(list(sha256), dtype=torch.uint8))
        torch.save(dict(state_dict=state | buffer), tmp_path / name)
        return str(tmp_path / name)

    own, others = saved('own.pth', digest), saved('others.pth', bytes(32))
    plain, mae = str(root / 'imae.pth'), str(root / 'mae.pth')

    def rows(checkpoint, **options):
        return table_4(config, [checkpoint], mae, data, Protocol(), **options)

    rows(own, without_distillation=plain, folder=tmp_path / 'records')
    notes = {r['notes'].split('Targets: ')[1] for r in read_records([tmp_path / 'records'])}
    assert notes == {f'the features of mae.pth, SHA-256 {digest.hex()}.'}
    with pytest.raises(CheckpointError, match='others.pth was distilled from the teacher'):
        rows(others)
    with pytest.raises(CheckpointError, match='own.pth.* is no i-MAE without distillation'):
        rows(plain, without_distillation=own)


def test_several_imaes_are_named_by_what_tells_them_apart(trained, tmp_path):
    root, config, data = trained
    state = torch.load(root / 'imae.pth')['state_dict']

    def saved(name, share, distill=True):
        told = dict(method='imae', variant=dict(same_class_ratio=share, distill=distill, mix='x'))
        torch.save(dict(state_dict=state, mixae=told), tmp_path / name)
        return str(tmp_path / name)

    half, whole = saved('half.pth', 0.5), saved('whole.pth', 1.0)
    assert name_rows([half]) == {'i-MAE': half}
    assert list(name_rows([half, whole])) == [
        'i-MAE, same_class_ratio=0.5',
        'i-MAE, same_class_ratio=1.0',
    ]
    plain = saved('plain.pth', 0.5, distill=False)
    assert 'i-MAE, same_class_ratio=0.5, distill=False' in name_rows([half, whole, plain])
    with pytest.raises(ConfigError, match='different settings'):
        name_rows([half, half])
    with pytest.raises(ConfigError, match='at least one'):
        name_rows([])
    results = table_4(
        config,
        [half, whole],
        str(root / 'mae.pth'),
        data,
        Protocol(),
        folder=tmp_path / 'records',
        budget='a minute',
    )
    assert list(results)[1:] == list(name_rows([half, whole]))
    records = read_records([tmp_path / 'records'])
    shares = {r['variant'].get('same_class_ratio') for r in records if r['method'] == 'imae'}
    assert shares == {0.5, 1.0} and {r['budget'] for r in records} == {'a minute'}
