"""Mistakes in overrides end in one line that names the setting, before anything is built."""

import argparse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config

from mixae.derive import derive
from mixae.derive.keys import KEYS
from mixae.engine import launch
from mixae.engine.launch import load_config, train
from mixae.engine.options import merge_options, parse_value
from mixae.errors import ConfigError

ROOT = Path(__file__).parents[2]
PRETRAIN = 'configs/mixedae/vitmini_digits_12e.py'
FINETUNE = 'configs/transfer/digit_scenes/vitmini_finetune.py'
KNN = 'configs/transfer/digit_scenes/vitmini_knn.py'
MAE = 'configs/mae/vitmini_digits_12e.py'
IMAE = 'configs/imae/vitmini_digits_6e.py'


def arguments(config, *options, **changes):
    given = dict(config=str(ROOT / config), cfg_options=list(options), launcher='none')
    given |= dict(work_dir='work', budget=None, local_rank=0, options_file=None)
    return argparse.Namespace(**(given | changes))


def load(config, *options) -> Config:
    cfg = Config.fromfile(ROOT / config)
    if 'pretrained' in cfg:
        cfg.pretrained = 'scratch'
    merge_options(cfg, options)
    return derive(cfg)[0]


MISTAKES = [
    # Names that nothing reads, with the nearest that are.
    (PRETRAIN, 'model.mixratio=0.5', r'model\.mixratio.*did you mean mix_ratio'),
    (PRETRAIN, 'model.backbone.maskratio=0.5', r'model\.backbone\.maskratio.*mask_ratio'),
    (PRETRAIN, 'model.attention.mod=global', r'model\.attention\.mod.*did you mean mode'),
    (PRETRAIN, 'model.contrast.wieght=1', r'model\.contrast\.wieght.*did you mean weight'),
    (PRETRAIN, 'train_cfg.max_epoch=3', r'train_cfg\.max_epoch.*max_epochs'),
    (PRETRAIN, 'train_dataloader.batchsize=3', r'train_dataloader\.batchsize.*batch_size'),
    (PRETRAIN, 'train_dataloder.batch_size=3', r"'train_dataloder'.*train_dataloader"),
    (PRETRAIN, 'optim_wrapper.optimizer.lrr=1', r'optim_wrapper\.optimizer\.lrr.*lr'),
    (PRETRAIN, 'base_Ir=1e-3', r"'base_Ir'.*base_lr"),
    (PRETRAIN, 'warmup_epoch=3', r"'warmup_epoch'.*warmup_epochs"),
    (PRETRAIN, 'batch_size=4', r"'batch_size'"),
    (PRETRAIN, 'lr=0.1', r"'lr'"),
    (PRETRAIN, 'max_epochs=3', r"'max_epochs'.*warmup_epochs"),
    (PRETRAIN, 'mask_ratio=0.5', r"'mask_ratio'"),
    (PRETRAIN, 'data_rot=/data', r"'data_rot'.*data_root"),
    (PRETRAIN, 'train_pipeline=[]', r'train_pipeline is a helper.*train_dataloader'),
    (PRETRAIN, 'randomness.sed=1', r'randomness\.sed.*did you mean seed'),
    (PRETRAIN, 'default_hooks.checkpoint.intervall=1', r'checkpoint\.intervall.*interval'),
    (PRETRAIN, 'optim_wrapper.clip_gradd=1', r'optim_wrapper\.clip_gradd.*clip_grad'),
    (FINETUNE, 'pretraned=x', r"'pretraned'.*pretrained"),
    (KNN, 'test_cfg.probe.kk=3', r'test_cfg\.probe\.kk.*k'),
    (PRETRAIN, 'train_dataloader.dataset.foo=1', r'train_dataloader\.dataset\.foo'),
    (PRETRAIN, 'model.type=MixedAe', r'model\.type=.MixedAe.*did you mean MixedAE'),
    (PRETRAIN, 'train_dataloader.sampler.type=mixae.EpochSample', r'did you mean EpochSampler'),
    # Values of a wrong type or range.
    (PRETRAIN, 'train_dataloader.batch_size=0', r'batch_size=0: expected a whole number from 1'),
    (PRETRAIN, 'train_dataloader.batch_size=abc', r"batch_size='abc': expected a whole number"),
    (PRETRAIN, 'train_dataloader.batch_size=8.5', r'batch_size=8.5: expected a whole number'),
    (PRETRAIN, 'train_cfg.max_epochs=0', r'max_epochs=0: expected a whole number from 1'),
    (PRETRAIN, 'train_cfg.max_epochs=-1', r'max_epochs=-1: expected a whole number from 1'),
    (PRETRAIN, 'train_cfg.max_epochs=1.5', r'max_epochs=1.5: expected a whole number from 1'),
    (PRETRAIN, 'train_dataloader.num_workers=-1', r'num_workers=-1: expected a whole number'),
    (PRETRAIN, 'model.mix_ratio=0', r'mix_ratio=0 is outside'),
    (PRETRAIN, 'model.mix_ratio=abc', r"mix_ratio='abc': expected a number"),
    (MAE, 'model.backbone.mask_ratio=1.5', r'mask_ratio=1.5: expected a number in'),
    (MAE, 'model.backbone.mask_ratio=abc', r"mask_ratio='abc'"),
    (PRETRAIN, 'base_lr=-1', r'base_lr=-1: expected a number in'),
    (PRETRAIN, 'base_lr=nan', r'base_lr=nan: expected a number in'),
    (PRETRAIN, 'model.backbone.arch=xxl', r"arch='xxl' is unknown"),
    (PRETRAIN, 'model.backbone.patch_size=0', r'patch_size=0: expected a whole number from 1'),
    (PRETRAIN, 'model.backbone.img_size=-64', r'img_size=-64: expected a whole number from 1'),
    (PRETRAIN, 'randomness.seed=abc', r"randomness\.seed='abc': expected a whole number"),
    (PRETRAIN, 'warmup_epochs=-2', r'warmup_epochs=-2: expected a number from 0'),
    (PRETRAIN, 'default_hooks.checkpoint.interval=0', r'checkpoint\.interval=0'),
    (PRETRAIN, 'optim_wrapper.accumulative_counts=0', r'accumulative_counts=0: expected a whole'),
    (PRETRAIN, 'model.attention.topk=9999', r'topk=9999.*68 tokens'),
    (PRETRAIN, 'model.attention.topk=None', r'topk=None'),
    (PRETRAIN, 'warmup_iters=3', r'warmup_epochs=1 and warmup_iters=3: give one'),
    # Syntax.
    (PRETRAIN, 'base_lr', r"'base_lr': expected KEY=VALUE"),
    (PRETRAIN, '=3', r"'=3': expected KEY=VALUE"),
    (PRETRAIN, 'base_lr=', r'base_lr= has no value'),
    (PRETRAIN, 'base_lr.x=1', r'base_lr\.x: base_lr is 0\.012 and has no .x.'),
    (PRETRAIN, 'param_scheduler.7.end=1', r'param_scheduler is a list of 2'),
    (PRETRAIN, 'model.backbone.img_size=[64,64', r'brackets do not match'),
    (PRETRAIN, 'model.backbone.img_size=(64,64', r'brackets do not match'),
]


@pytest.mark.parametrize('config, option, message', MISTAKES, ids=lambda x: str(x)[:40])
def test_a_mistake_is_named(config, option, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(config, option)
    assert '\n' not in str(caught.value)


def test_two_overrides_of_one_mistake_are_read_from_left_to_right():
    assert load(PRETRAIN, 'base_lr=1e-3', 'base_lr=2e-3').base_lr == 2e-3


# What is typed arrives.


@pytest.mark.parametrize(
    'text, current, value',
    [
        ('/a folder/b,c', 'data', '/a folder/b,c'),
        ('2017', 'data', '2017'),
        ('[x', 'data', '[x'),
        ('"a b"', 'data', 'a b'),
        ('None', 'data', None),
        ('1e-3', 1.0, 1e-3),
        ('3', 'auto', 3),
        ('true', None, True),
        ('[1, (2, 3)]', None, [1, (2, 3)]),
        ('[a, b c]', None, ['a', 'b c']),
        ('(a, b)', None, ('a', 'b')),
        ('8,11', (1, 2), [8, 11]),
        ('a,b', ['x'], ['a', 'b']),
        ('a,b', None, 'a,b'),
        ("{'embed_dims': 32}", 'auto', dict(embed_dims=32)),
        ('epoch_1.pth', None, 'epoch_1.pth'),
    ],
)
def test_values(text, current, value):
    assert parse_value(text, current) == value
    assert type(parse_value(text, current)) is type(value)


@given(st.text(min_size=1, max_size=30))
def test_a_string_over_a_string_is_what_was_typed(text):
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in '\'"'
    if text.lower() != 'none' and not quoted:
        assert parse_value(text, 'current') == text


@given(st.recursive(st.integers() | st.booleans() | st.text('abc, ', max_size=5), st.lists))
def test_what_python_prints_is_read_back(value):
    if not isinstance(value, str):
        assert parse_value(repr(value)) == value


def test_data_root_reaches_every_data_set():
    for config in (PRETRAIN, FINETUNE, KNN, 'configs/mae/vitt_cifar10_2000e.py'):
        cfg = load(config, 'data_root=/a folder, of mine')
        loader = cfg.get('train_dataloader') or cfg.test_dataloader
        assert loader.dataset.dataset.data_root == '/a folder, of mine'


# Configs, launchers and folders.


@pytest.mark.parametrize(
    'config, changes, message',
    [
        ('configs/mixedae/vitmini_digits_12.py', {}, r'no config file.*vitmini_digits_12e\.py'),
        ('configs/suites/demo.py', {}, 'is a suite'),
        ('README.md', {}, 'expected a Python file'),
        ('configs/_base_/datasets/cifar_cls.py', {}, 'it has no model'),
        (PRETRAIN, dict(launcher='pytorch'), 'RANK, .* is not set'),
        (PRETRAIN, dict(launcher='slurm'), 'SLURM_PROCID, .* is not set'),
    ],
)
def test_what_cannot_be_run(config, changes, message, monkeypatch):
    for variable in ('RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigError, match=message):
        load_config(arguments(config, **changes))


def test_a_config_with_a_syntax_error_is_named(tmp_path):
    (tmp_path / 'broken.py').write_text('model = dict(')
    with pytest.raises(ConfigError, match=r'broken\.py cannot be read: SyntaxError'):
        load_config(arguments(tmp_path / 'broken.py'))


@pytest.mark.parametrize('key', ['train_dataloader', 'optim_wrapper', 'train_cfg'])
def test_training_needs_all_of_its_parts(key):
    with pytest.raises(ConfigError, match=f'trains nothing: {key} not set'):
        train(load_config(arguments(PRETRAIN, f'{key}=None')))


def test_tools_that_do_not_fit_a_config_say_so():
    with pytest.raises(ConfigError, match='evaluates nothing'):
        launch.test(load_config(arguments(PRETRAIN)), 'epoch_1.pth')
    with pytest.raises(ConfigError, match='trains nothing'):
        train(load_config(arguments(KNN)))
    with pytest.raises(ConfigError, match='--pretrained scratch.*is no transfer config'):
        train(load_config(arguments(PRETRAIN)), pretrained='scratch')


# docs/configs.md.


def test_the_page_lists_the_keys_of_the_code():
    lines = (ROOT / 'docs/configs.md').read_text().splitlines()
    rows = dict(line.strip('| ').split(' | ', 1) for line in lines if line.startswith('| `'))
    listed = {name.strip('`'): text for name, text in rows.items()}
    assert {key: listed.get(key) for key in KEYS} == KEYS


def test_every_key_is_read_by_the_code():
    code = '\n'.join(p.read_text() for p in (ROOT / 'mixae').rglob('*.py') if p.name != 'keys.py')
    for key in KEYS:
        assert f"'{key}'" in code or f'.{key}' in code or 'warmup_{' in code, key
