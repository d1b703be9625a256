"""The prediction of hours: its arithmetic is torch's count, and its bounds are what they say."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / 'benchmarks'
spec = importlib.util.spec_from_file_location('scaling', BENCHMARKS / 'scaling.py')
scaling = sys.modules['scaling'] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scaling)
QUICK = replace(scaling.Machine(), core_rate=1e9, node_gbps=1e9, network_gbps=1e9)


def test_arithmetic_is_what_torch_counted():
    file = BENCHMARKS / 'results' / 'cpu_epyc_vitb_224_bf16.json'
    (result,) = json.loads(file.read_text())['results']
    for method, name in (('mae', 'mae'), ('mixedae', 'mixedae-topk')):
        counted = result['methods'][name]['gflops_per_image']
        assert scaling.step_flops('b', method) / 1e9 == pytest.approx(counted, rel=1e-9)


def test_hours_by_hand_where_arithmetic_is_all():
    row = scaling.predict('l', 8, QUICK, epochs=100)
    images = 100 * (1_281_167 // 4096) * 4096
    seconds = images * scaling.step_flops('l') / (8 * 989e12 * 0.35)
    assert row['hours'] == pytest.approx(seconds / 3600) and row['bound'] == 'arithmetic'


def test_bounds_are_named_and_what_bounds_sets_the_time():
    slow = replace(QUICK, core_rate=10)
    row = scaling.predict('b', 8, slow)
    assert row['bound'] == 'loader' and row['images_per_second'] == pytest.approx(8 * 12 * 10)
    relieved = replace(slow, cores=row['cores_needed'])
    assert scaling.predict('b', 8, relieved)['loader'] == pytest.approx(row['compute'])
    narrow = replace(QUICK, network_gbps=0.1)
    assert scaling.predict('b', 8, narrow)['exposed'] < 1e-6  # one node needs no network
    assert scaling.predict('b', 64, narrow)['bound'] == 'communication'
    with pytest.raises(ValueError, match='4096'):
        scaling.predict('b', 7, QUICK)


def test_the_table_prints(capsys, tmp_path):
    scaling.main(['--archs', 'b', '--gpus', '8', '--json', str(tmp_path / 'x.json')])
    assert '| B | mixedae | 8 |' in capsys.readouterr().out
    assert len(json.loads((tmp_path / 'x.json').read_text())['rows']) == 2
