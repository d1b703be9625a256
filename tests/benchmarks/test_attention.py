"""The benchmark of plain attention: its paths are one function."""

import torch

from tests.benchmarks.test_benchmarks import load


def test_paths_are_one_function_and_run(capsys, monkeypatch):
    attention = load('attention')
    q, k, v = torch.randn(3, 2, 2, 9, 8).unbind()
    expected = attention.PATHS['torch'](q, k, v)
    for way in attention.PATHS.values():
        torch.testing.assert_close(way(q, k, v), expected, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(attention, 'SHAPES', [(1, 2, 9, 8)])
    attention.main(['--rounds', '1'])
    assert capsys.readouterr().out.count('| 1 x 2 x 9 x 8 |') == 6
