"""A checkpoint's account of itself is checked when it is read, before an evaluation is paid for."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mixae.checkpoints.account import pretraining_block, read_origin
from mixae.checkpoints.account_form import check_account
from mixae.checkpoints.read import read_checkpoint
from mixae.engine.hooks.provenance import describe_variant
from mixae.engine.hooks.record import _description
from mixae.errors import CheckpointError, RecordError
from mixae.results.record import new_record

SHA256 = 'ab' * 32
CURVE = dict(x_label='iteration', y_label='accuracy', x=[1, 2], lines={'layer 1': [0.5, None]})
PRETRAINING = dict(
    config='configs/mae/vitt_cifar10_2000e.py',
    config_sha256=SHA256,
    dataset='cifar10',
    epochs=8,
    images_seen=400_000,
    seconds=12.5,
    device='CPU: some',
    device_count=2,
    flops=1e15,
    labels_in_pretraining=False,
    teacher=None,
    seed=0,
    commit='0' * 40,
)
ORIGIN = dict(
    method='mae',
    variant={},
    curves=None,
    pretraining=dict(PRETRAINING, checkpoint='epoch_8.pth', sha256=SHA256),
)
SCHEDULE = dict(
    world_size=2,
    batch_size=8,
    accumulation=1,
    seed=0,
    n_train=48,
    iters_per_epoch=3,
    max_iters=24,
    settings={'train_cfg.max_epochs': 8, 'optim_wrapper.optimizer.lr': 1.5e-4},
)
ACCOUNT = dict(
    **PRETRAINING,
    method='mixedae',
    variant=dict(mode='topk', groups=4, share=0.5, labels=None, extra=True),
    backbone=dict(arch='ViT-Ti', patch_size=4, img_size=32),
    length='8e',
    n_train=50_000,
    schedule=SCHEDULE,
    iterations=100,
    max_iters=100,
    stopped_early=False,
    flops_per_image=1e9,
    pseudo_labels=None,
    curves=dict(topk_accuracy=CURVE),
    origin=ORIGIN,
)


def record_of(told: dict):
    """The record of an evaluation of a checkpoint with this account."""
    return new_record(
        task='finetune',
        protocol=dict(name=f'finetune-{told.get("length")}', version=1),
        method=told.get('method') or 'unknown',
        variant=told.get('variant') or {},
        backbone=dict(arch='ViT-Ti', patch_size=4, img_size=32),
        dataset=dict(
            name='cifar10', description=None, split='test', n_train=told.get('n_train'), n_test=1
        ),
        metrics=dict(top1=dict(value=50.0, unit='%', higher_is_better=True)),
        pretraining=pretraining_block(__file__, told),
        config=dict(path=None, sha256=SHA256),
        cost={key: told.get(key) for key in ('seconds', 'images_seen', 'flops')},
        **(dict(curves=told['curves']) if told.get('curves') else {}),
    )


def test_a_whole_account_is_taken_and_fits_a_record():
    check_account(ACCOUNT, 'epoch_1.pth')
    assert record_of(ACCOUNT)['pretraining']['images_seen'] == 400_000


@pytest.mark.parametrize('field', ACCOUNT)
def test_any_entry_may_be_unknown(field):
    check_account({**ACCOUNT, field: None}, 'epoch_1.pth')
    record_of({**ACCOUNT, field: None})
    missing = {key: value for key, value in ACCOUNT.items() if key != field}
    check_account(missing, 'epoch_1.pth')
    record_of(missing)


def test_what_people_may_write_is_taken():
    settings = {'optim_wrapper.clip_grad.max_norm': math.inf, 'model.text': 'two\nlines'}
    told = dict(schedule=dict(SCHEDULE, settings=settings), variant=dict(a='64\xa0× 64,\tü\n'))
    check_account(ACCOUNT | told, 'epoch_1.pth')
    record_of(ACCOUNT | told)


def test_one_that_tells_nothing_is_taken():
    check_account({}, 'epoch_1.pth')
    record_of({})


WRONG = {
    'method': [3, '', ['mae'], 'a\x1b[2J'],
    'variant': ['topk', [1], dict(mode=[1]), dict(mode=dict(a=1)), dict(share=math.nan)],
    'config': [3],
    'config_sha256': ['abc', 3],
    'dataset': [3, ['cifar10']],
    'epochs': ['8', -1, math.nan, math.inf, [8]],
    'images_seen': ['many', -1, 0.5, True, 10**400],
    'seconds': ['12', -1.0, math.nan, math.inf],
    'device': [3, 'a\x07b', 'a\ud800'],
    'device_count': [0, '2', 1.5],
    'flops': ['1e15', -1.0, math.inf],
    'flops_per_image': ['1e9', math.nan],
    'labels_in_pretraining': ['no', 1, 0],
    'teacher': ['mae.pth', {}, dict(epochs=3), [1]],
    'seed': ['0', 1.5],
    'commit': [3],
    'length': [8, ['8e']],
    'n_train': ['50000', -1],
    'schedule': [
        3,
        dict(SCHEDULE, batch_size='8'),
        dict(SCHEDULE, batch_size=0),
        dict(SCHEDULE, world_size=-1),
        dict(SCHEDULE, max_iters=1.5),
        dict(SCHEDULE, settings=[1]),
        dict(SCHEDULE, settings={'optim_wrapper.optimizer.lr': [1]}),
    ],
    'iterations': ['100', 1.5],
    'stopped_early': ['no', 0],
    'backbone': ['ViT-Ti'],
    'pseudo_labels': ['k=10', [1]],
    'curves': [
        [1],
        dict(topk_accuracy=[1, 2]),
        dict(topk_accuracy={**CURVE, 'x': 'abc'}),
        dict(topk_accuracy={**CURVE, 'lines': {'layer 1': [0.5]}}),
        dict(topk_accuracy={**CURVE, 'lines': {'layer 1': [0.5, math.nan]}}),
    ],
    'origin': [
        'mae',
        {},
        {key: value for key, value in ORIGIN.items() if key != 'pretraining'},
        {**ORIGIN, 'method': None},
        {**ORIGIN, 'variant': None},
        {**ORIGIN, 'pretraining': dict(epochs=3)},
        {**ORIGIN, 'pretraining': {**ORIGIN['pretraining'], 'seconds': math.nan}},
        {**ORIGIN, 'curves': dict(a={**CURVE, 'x': [1]})},
    ],
}


@pytest.mark.parametrize(
    'field, value', [(field, value) for field, values in WRONG.items() for value in values]
)
def test_an_entry_of_a_wrong_form_is_named_when_it_is_read(field, value, tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=dict(w=torch.ones(1)), mixae={**ACCOUNT, field: value}), path)
    for read in (read_checkpoint, read_origin):
        with pytest.raises(CheckpointError) as caught:
            read(path)
        line = str(caught.value)
        assert str(path) in line and f'. {field}' in line and line.isprintable()


@pytest.mark.parametrize('account', [None, [], 'mae', 3])
def test_so_is_an_account_that_is_none(account, tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=dict(w=torch.ones(1)), mixae=account), path)
    with pytest.raises(CheckpointError, match="is not of type 'object'"):
        read_checkpoint(path)


def test_what_a_record_refuses_an_account_may_not_hold():
    """The two forms are one: whatever keeps a record from being written is refused before."""
    fields = {*PRETRAINING, 'method', 'variant', 'curves', 'n_train'}
    for field, value in ((f, v) for f in fields for v in WRONG.get(f, [])):
        try:
            record_of({**ACCOUNT, field: value})
        except (RecordError, AttributeError, TypeError, OverflowError):
            with pytest.raises(CheckpointError):
                check_account({**ACCOUNT, field: value}, 'epoch_1.pth')


def test_a_variant_with_a_list_is_told_as_text():
    cfg = Config(dict(variant=dict(a='x', b='y.z'), x=[1, 2], y=dict(z=0.5)))
    told = describe_variant(cfg)
    assert told == dict(a='[1, 2]', b=0.5)
    check_account(dict(variant=told), 'epoch_1.pth')


# What the data says of itself.


@pytest.fixture
def described(tmp_path, monkeypatch):
    """A function of the content of dataset.json: the description that a record takes, warnings."""

    def read(content: bytes | None):
        if content is not None:
            (tmp_path / 'dataset.json').write_bytes(content)
        warnings = []
        note = 'mixae.datasets.about.print_log'
        monkeypatch.setattr(note, lambda text, **_: warnings.append(text))
        loop = SimpleNamespace(
            dataloader=SimpleNamespace(dataset=SimpleNamespace(data_root=str(tmp_path)))
        )
        runner = SimpleNamespace(
            _test_loop=loop,
            _val_loop=None,
            _train_loop=None,
        )
        return _description(runner), warnings

    return read


def test_the_description_of_the_data_is_taken(described):
    told = 'ImageNet, 64\xa0×\xa064'
    assert described(json.dumps(dict(description=told)).encode()) == (told, [])


def test_none_is_no_fault(described):
    assert described(None) == (None, [])


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'{',
        b'null',
        b'[]',
        b'3',
        b'"text"',
        b'{"description": null}',
        b'{"description": 3}',
        b'{"description": ["a"]}',
        b'{"description": {"a": 1}}',
        b'{"description": "\\ud800"}',
        b'{"description": "a\\u001b[2J"}',
        b'\xff\xfe',
        b'[' * 100_000,
    ],
)
def test_a_damaged_description_is_said_and_costs_no_record(described, content, tmp_path):
    description, (warning,) = described(content)
    assert description is None and str(tmp_path / 'dataset.json') in warning
    assert warning.isprintable()


def test_so_is_one_that_is_a_folder(described, tmp_path):
    (tmp_path / 'dataset.json').mkdir()
    description, (warning,) = described(None)
    assert description is None and 'directory' in warning


def test_a_recipe_is_what_decides_a_run_but_for_seed_and_machine(tmp_path):
    path = tmp_path / 'epoch_8.pth'
    path.write_bytes(b'weights')

    def recipe(batch=(2, 8, 1), **settings):
        told = dict(zip(('world_size', 'batch_size', 'accumulation'), batch, strict=True))
        told['settings'] = SCHEDULE['settings'] | {'train_dataloader.batch_size': batch[1]}
        told['settings'] |= {key.replace('__', '.'): value for key, value in settings.items()}
        return pretraining_block(path, dict(ACCOUNT, schedule=SCHEDULE | told))['recipe_sha256']

    same = recipe((1, 16, 1)), recipe(optim_wrapper__type='OptimWrapper')
    assert {recipe(), *same, recipe((2, 4, 2), optim_wrapper__accumulative_counts=2)} == {recipe()}
    assert len({recipe(), recipe((4, 8, 1)), recipe(optim_wrapper__optimizer__lr=1.0)}) == 3
    assert 'recipe_sha256' not in pretraining_block(path, dict(ACCOUNT, schedule=None))
    assert 'recipe_sha256' not in pretraining_block(path, {})
