"""The benchmark of homologous attention: its paths agree, and its sums are those of the kernel."""

import sys

import pytest
import torch

from tests.benchmarks.test_benchmarks import load

topk_kernel = load('topk_kernel')


def test_every_path_attends_to_the_same_keys():
    torch.manual_seed(0)
    qkv = [x.requires_grad_() for x in torch.randn(3, 2, 2, 20, 16).unbind()]
    grad = torch.randn(2, 2, 20, 16)
    ways = topk_kernel.paths(4, 5, compiled=False)
    plain = ways['plain'](*qkv)
    expected = torch.autograd.grad(plain, qkv, grad)
    for name in ('mask', 'flex'):
        out = ways[name](*qkv)
        torch.testing.assert_close(out, plain, rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(torch.autograd.grad(out, qkv, grad), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    # MAE's attention is within images, 5 tokens each.
    own = ways['global'](*(x[:, :, 5:10] for x in qkv))
    torch.testing.assert_close(ways['mae'](*qkv)[:, :, 5:10], own, rtol=1e-4, atol=1e-5)


def test_bounds_are_the_arithmetic():
    shape = dict(M=2, H=3, G=4, n=8, d=16)  # 192 queries of 32 keys: whole tiles
    parts = topk_kernel.parts('kernel', **shape)
    scores, elements = 192 * 32, 192 * 16
    # Two products forward, and seven backward: the scores and their gradient are made twice.
    assert sum(p.get('tensor', 0) for p in parts.values()) == 9 * 2 * scores * 16
    # In 16 bit: q, k, v and the output; and a threshold and a log-sum-exp a row.
    assert parts['forward']['memory'] == 4 * 2 * elements + 2 * 4 * 192
    part = dict(memory=3.35e12, tensor=989e12, fp32=67e12)
    assert topk_kernel.least(part) == pytest.approx(2)  # one second of memory beside two


def test_without_a_gpu_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(sys, 'argv', ['topk_kernel.py'])
    topk_kernel.main([])
    text = capsys.readouterr().out
    assert text.endswith('There is no GPU here: nothing was measured.\n')
    assert text.count('| vitb_224 |') == 3
