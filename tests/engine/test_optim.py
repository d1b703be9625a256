"""bf16 autocast on whatever device there is."""

import pytest
import torch
from torch import nn

from mixae.engine import AmpOptimWrapper


@pytest.fixture
def wrapped(monkeypatch):
    monkeypatch.setattr('mixae.engine.optim.cpu_has_bfloat16', lambda: True)
    model = nn.Linear(4, 3)
    return model, AmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))


def test_products_are_bf16_inside_and_parameters_stay_fp32(wrapped):
    model, wrapper = wrapped
    device = torch.device(wrapper.device_type)
    model.to(device)
    x = torch.randn(2, 4, device=device)
    with wrapper.optim_context(model):
        out = model(x)
    assert out.dtype == torch.bfloat16
    assert model(x).dtype == torch.float32
    wrapper.update_params(out.float().sum())
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU has bfloat16')
def test_a_cpu_without_bfloat16_computes_in_float32(monkeypatch):
    monkeypatch.setattr('mixae.engine.optim.cpu_has_bfloat16', lambda: False)
    model = nn.Linear(4, 3)
    wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    with wrapper.optim_context(model):
        assert model(torch.randn(2, 4)).dtype == torch.float32


def test_the_step_is_the_plain_one_within_bf16(wrapped):
    model, wrapper = wrapped
    x = torch.randn(2, 4)
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        loss = model(x).sum()
    wrapper.update_params(loss)
    expected = before - 0.1 * x.sum(dim=0)
    torch.testing.assert_close(model.weight.detach(), expected, atol=2e-2, rtol=2e-2)


def test_another_dtype_points_to_mmengines_wrapper(wrapped):
    model, _ = wrapped
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="dtype='float16'.*type='AmpOptimWrapper'"):
        AmpOptimWrapper(dtype='float16', optimizer=optimizer)
