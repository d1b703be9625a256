"""The benchmark of dense transfer measures what it says."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'benchmarks/dense_step.py'
pytestmark = pytest.mark.dense


@pytest.fixture(scope='module')
def benchmark():
    spec = importlib.util.spec_from_file_location('dense_step', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('compare', ['windows', 'upernet'])
def test_both_variants_are_the_same_model_but_for_what_is_compared(benchmark, compare):
    sizes = []
    for variant in benchmark.VARIANTS[compare]:
        step = benchmark.build_step(compare, variant, 'ti', 64, 2)
        step()
        model = step.__closure__[[*step.__code__.co_freevars].index('model')].cell_contents
        parameters = dict(model.named_parameters())
        # mmseg's MAE has a relative position bias and layer scales; everything else is equal.
        extra = [
            n
            for n in parameters
            if 'relative_position' in n or n.split('.')[-1].startswith('gamma')
        ]
        sizes.append(sum(p.numel() for n, p in parameters.items() if n not in extra))
        trained = [n for n, p in parameters.items() if p.requires_grad and p.grad is None]
        assert not [n for n in trained if 'conv_seg' not in n]
    width = benchmark.ARCHS['ti'][0]
    # With mmseg's qkv a bias is missing for the keys.
    assert abs(sizes[0] - sizes[1]) <= 12 * 3 * width


def test_an_unknown_variant_is_refused(benchmark):
    with pytest.raises(ValueError, match="no variant 'ours'"):
        benchmark.build_step('windows', 'ours', 'ti', 64, 1)


def test_it_prints_and_writes_what_it_measured(tmp_path):
    out = tmp_path / 'out.json'
    command = [sys.executable, SCRIPT, '--arch', 'ti', '--size', '96', '--rounds', '2']
    done = subprocess.run([*command, '--json', out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads(out.read_text())['results']
    assert [r['compare'] for r in results] == ['windows', 'upernet']
    for result in results:
        for variant, found in result['variants'].items():
            assert f'| {variant} |' in done.stdout
            assert len(found['seconds']) == 2 and found['peak_memory_bytes'] > 0
