"""The benchmark of variants of the step: each computes what the step as it is computes."""

import json

import torch

from tests.benchmarks.test_benchmarks import TINY, load

load('pretrain_step')
variants = load('step_variants')


def test_masked_patches_alone_give_the_loss(capsys):
    plain, masked = variants.predictions(2, 32, 8, 16, 'cpu').values()
    torch.testing.assert_close(masked(), plain(), rtol=1e-5, atol=1e-6)


def test_it_runs_and_writes(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(variants, 'DECODERS', {'tiny': (2, 32, 8, 16)})
    monkeypatch.setattr(variants.compiled_steps, '__defaults__', (TINY, dict(backend='eager')))
    out = tmp_path / 'out.json'
    arguments = ['--methods', 'mixedae', '--batch', '8', '--rounds', '2', '--json', str(out)]
    variants.main(arguments)
    results = json.loads(out.read_text())['results']
    assert list(results) == ['prediction of masked patches alone, tiny', 'compiled step, mixedae']
    assert all(
        len(one['times'][name]['cpu']) == 2 for one in results.values() for name in one['ms']
    )
    assert capsys.readouterr().out.count('| ') > 10
