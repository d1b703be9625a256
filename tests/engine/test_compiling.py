"""``compile``: what compiled code computes, draws, saves and refuses."""

import copy

import pytest
import torch
import torch._inductor.config
from mmengine.registry import DefaultScope

from mixae.checkpoints.read import read_checkpoint
from mixae.derive import derive
from mixae.engine import launch
from mixae.engine.compiling import compile_loss
from mixae.errors import ConfigError
from mixae.registry import MODELS
from tests.engine.test_bit_for_bit import check

MAE = 'mae/vitt_cifar10_2000e.py'
MIXEDAE = 'mixedae/vitt_cifar10_2000e.py'
IMAE = 'imae/vitt_cifar10_2000e.py'
EAGER = dict(backend='aot_eager')  # torch's graphs without a C++ compiler's code


@pytest.fixture
def build(small_config, tmp_path):
    """The model of a config, which i-MAE's teacher has the encoder of."""

    def model(path):
        cfg = small_config(path)
        if path == IMAE:
            state = {f'backbone.{k}': v for k, v in model(MAE).backbone.state_dict().items()}
            torch.save(dict(state_dict=state), tmp_path / 'teacher.pth')
            cfg.model.teacher.checkpoint = str(tmp_path / 'teacher.pth')
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            built = MODELS.build(derive(cfg, world_size=1, cuda=False)[0].model)
        built.init_weights()
        return built.train()

    return model


def step(model):
    """Losses and gradients of two steps on the same images, and the next random number."""
    torch.manual_seed(1)
    images = torch.rand(8, 3, 32, 32)
    model.zero_grad()
    losses = [model(images, None, mode='loss') for _ in range(2)]
    sum(v for one in losses for k, v in one.items() if k.startswith('loss')).backward()
    grads = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    return [{k: v.detach() for k, v in one.items()} for one in losses], grads, torch.rand(1)


def check_same(plain, compiled):
    names = list(plain.state_dict())
    expected, found = step(plain), step(compiled)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert expected[0][0] != expected[0][1]  # each step draws its own mask
    assert list(compiled.state_dict()) == names == list(dict(compiled.state_dict()))


@pytest.mark.parametrize('path', [MAE, MIXEDAE, IMAE])
def test_losses_gradients_and_draws_are_those_of_an_uncompiled_model(build, path):
    plain = build(path)
    compiled = copy.deepcopy(plain)
    compile_loss(compiled, EAGER)
    check_same(plain, compiled)


def test_checkpoints_are_those_of_an_uncompiled_run(small_config, tmp_path):
    """They have its names and go on with or without; a compiled run resumes bit for bit."""

    def config():
        cfg = small_config(MAE)
        cfg.compile = dict(backend='eager')
        cfg.default_hooks.checkpoint.update(by_epoch=False, interval=4)
        return cfg

    check(config, tmp_path, 5, 'iter_4', 'iter_12')
    plain = config()
    plain.compile, plain.work_dir = False, str(tmp_path / 'plain')
    launch.train(plain)
    with_it, without = (
        read_checkpoint(tmp_path / run / 'iter_12.pth')['state_dict']
        for run in ('straight', 'plain')
    )
    torch.testing.assert_close(with_it, without, rtol=1e-4, atol=1e-5)
    (tmp_path / 'resumed' / 'iter_12.pth').unlink()
    plain.work_dir = str(tmp_path / 'resumed')
    runner = launch.train(plain, resume=True)
    log = ''.join(path.read_text() for path in (tmp_path / 'resumed').glob('*/*.log'))
    assert 'Resuming with compile.backend was eager, is not set' in log
    assert runner.iter == 12


@pytest.mark.parametrize(
    'given, expected',
    [
        ('yes', "compile='yes': expected True or False or dict(...) or None."),
        (
            dict(backnd='eager'),
            'compile.backnd: torch.compile has no such option; did you mean backend?',
        ),
        (dict(backend='nowhere'), 'Invalid backend'),
        (dict(mode='fastest'), 'fastest'),
    ],
)
def test_options_that_there_are_not_end_in_one_line(small_config, given, expected):
    cfg = small_config(MAE)
    cfg.compile = given
    with pytest.raises(ConfigError) as error:
        launch.train(cfg)
    assert expected in str(error.value) and '\n' not in str(error.value)


def test_without_a_compiler_a_line_says_so_before_the_run(small_config, monkeypatch):
    monkeypatch.setattr(torch._inductor.config.cpp, 'cxx', ('nowhere-c++',))
    cfg = small_config(MAE)
    cfg.compile = True
    with pytest.raises(ConfigError, match='cannot be used: .*torch needs a C.. compiler') as error:
        launch.train(cfg)
    assert '\n' not in str(error.value)
