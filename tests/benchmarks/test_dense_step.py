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


@pytest.mark.parametrize('compare', ['windows', 'backbone', 'upernet'])
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
    command += ['--precision', 'bf16', '--threads', '1']
    done = subprocess.run([*command, '--json', out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    content = json.loads(out.read_text())
    assert content['command'].startswith('python benchmarks/dense_step.py --arch ti --size 96')
    assert content['device']['name'] and content['threads'] == 1
    assert [r['compare'] for r in content['results']] == ['windows', 'backbone', 'upernet']
    for result in content['results']:
        first, second = result['variants'].values()
        assert first['ratio'] == dict(median=1.0, min=1.0, max=1.0)
        ratios = [a / b for a, b in zip(second['seconds'], first['seconds'], strict=True)]
        assert second['ratio']['min'] == min(ratios) and second['ratio']['max'] == max(ratios)
        for variant, found in result['variants'].items():
            wall = '{median:.2f} ({min:.2f}..{max:.2f})'.format(**found['ratio'])
            (line,) = [
                line
                for line in done.stdout.splitlines()
                if line.startswith(f'| {result["compare"]},') and f'| {variant} |' in line
            ]
            assert f'| {wall} |' in line
            assert len(found['seconds']) == 2 and found['peak_memory_bytes'] > 0
