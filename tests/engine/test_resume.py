"""A resumed run is the run that was interrupted, or stops with what differs."""

import logging
import shutil

import pytest
import torch

from mixae.checkpoints.read import read_checkpoint
from mixae.engine import launch
from mixae.engine.resume import SCHEDULE, flatten
from mixae.errors import CheckpointError, ConfigError
from mixae.results.record import read_record

MAE = 'mae/vitt_cifar10_2000e.py'
FINETUNE = 'transfer/cifar/cifar10_vitt_finetune.py'


@pytest.fixture
def mae(runs, small_config):
    """A run of two epochs and its first checkpoint; made once."""
    folder = runs / 'mae'
    if not folder.exists():
        launch.train(small_config(MAE, folder))
    return folder


def records(folder):
    return [read_record(path) for path in sorted((folder / 'records').glob('*.record.json'))]


def resume(cfg, checkpoint, **options):
    cfg.merge_from_dict(options)
    return launch.train(cfg, resume=str(checkpoint))


@pytest.mark.parametrize(
    'options, names',
    [
        ({'train_dataloader.batch_size': 4}, 'images per process was 8, is 4'),
        ({'train_dataloader.batch_size': 16}, 'iterations per epoch was 6, is 3'),
        ({'train_cfg.max_epochs': 4}, 'train_cfg.max_epochs was 2, is 4'),
        ({'optim_wrapper.accumulative_counts': 2}, 'accumulation steps was 1, is 2'),
        ({'base_lr': 1e-3}, r'optim_wrapper.optimizer.lr was 4.687e-06, is 3.125e-05'),
        ({'train_dataloader.dataset.subset': 40}, 'training images was 48, is 40'),
        ({'optim_wrapper.optimizer.weight_decay': 0.3}, 'weight_decay was 0.05, is 0.3'),
        ({'warmup_epochs': 1}, 'its optimiser or schedule is that of another config'),
        ({'model.backbone.mask_ratio': 0.5}, 'model.backbone.mask_ratio was 0.75, is 0.5'),
        ({'randomness.seed': 3}, 'seed was 0, is 3'),
    ],
)
def test_what_would_be_another_run_stops_with_what_differs(
    mae, small_config, tmp_path, options, names
):
    with pytest.raises((ConfigError, CheckpointError), match=names) as error:
        resume(small_config(MAE), mae / 'epoch_1.pth', **options)
    assert '\n' not in str(error.value) and str(mae / 'epoch_1.pth') in str(error.value)
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_another_method_does_not_go_on(mae, small_config, tmp_path):
    with pytest.raises(CheckpointError, match='cannot be resumed: .* is that of another config'):
        resume(small_config('mixedae/vitt_cifar10_2000e.py'), mae / 'epoch_1.pth')
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_what_does_not_decide_the_result_may_differ(mae, small_config, tmp_path, image_folder):
    shutil.copytree(image_folder, tmp_path / 'moved')
    runner = resume(
        small_config(MAE),
        mae / 'epoch_1.pth',
        **{
            'train_dataloader.num_workers': 1,
            'train_dataloader.dataset.dataset.data_root': str(tmp_path / 'moved'),
            'default_hooks.logger.interval': 3,
            'default_hooks.checkpoint.max_keep_ckpts': 1,
        },
    )
    assert runner.iter == 12
    resumed, straight = (
        read_checkpoint(folder / 'epoch_2.pth')['state_dict'] for folder in (tmp_path / 'run', mae)
    )
    assert all(torch.equal(resumed[k], straight[k]) for k in straight)


def edited(checkpoint, path, edit):
    content = torch.load(checkpoint, weights_only=False)
    content = edit(content) or content
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    'edit, names',
    [
        (
            lambda c: dict(state_dict=c['state_dict']),
            'meta.epoch, meta.iter, message_hub, opt',
        ),
        (lambda c: c.pop('optimizer') and None, 'optimizer missing'),
        (lambda c: c.pop('param_schedulers') and None, 'schedule is that of another config'),
        (lambda c: c['meta'].pop('iter') and None, 'meta.iter missing'),
        (
            lambda c: c['optimizer']['param_groups'].pop() and None,
            'its optimiser or schedule is that of another config',
        ),
    ],
)
def test_a_checkpoint_without_the_state_of_a_run_is_not_resumed(
    mae, small_config, tmp_path, edit, names
):
    path = edited(mae / 'epoch_1.pth', tmp_path / 'less.pth', edit)
    with pytest.raises(CheckpointError, match=f'{path} cannot be resumed.*{names}'):
        resume(small_config(MAE), path)


def test_the_advised_way_to_start_from_weights_works(mae, small_config, tmp_path):
    weights = edited(
        mae / 'epoch_1.pth', tmp_path / 'weights.pth', lambda c: dict(state_dict=c['state_dict'])
    )
    cfg = small_config(MAE, epochs=1)
    cfg.load_from = str(weights)
    cfg.optim_wrapper.optimizer.lr = 0.0
    runner = launch.train(cfg)
    state = read_checkpoint(weights)['state_dict']
    assert all(torch.equal(v, state[k]) for k, v in runner.model.state_dict().items())


def test_an_older_checkpoint_is_resumed_with_a_warning(mae, small_config, tmp_path, caplog):
    path = edited(
        mae / 'epoch_1.pth', tmp_path / 'old.pth', lambda c: c['mixae'].pop(SCHEDULE) and None
    )
    runner = resume(small_config(MAE), path)
    assert runner.iter == 12
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    assert 'does not say how it was trained' in log
    cfg = small_config(MAE, epochs=1)
    older = edited(
        mae / 'epoch_2.pth', tmp_path / 'older.pth', lambda c: c['mixae'].pop(SCHEDULE) and None
    )
    with pytest.raises(ConfigError, match='has run for 12 iterations.*run for 6 only'):
        resume(cfg, older)


def test_the_same_batch_on_other_processes_goes_on(mae, small_config, tmp_path):
    """As 2 processes with 4 images each would have written it."""

    def by_two(content):
        content['mixae'][SCHEDULE].update(world_size=2, batch_size=4)

    path = edited(mae / 'epoch_1.pth', tmp_path / 'two.pth', by_two)
    assert resume(small_config(MAE), path).iter == 12
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    assert 'Resuming with processes was 2, is 1; images per process was 4, is 8' in log

    def by_four(content):
        content['mixae'][SCHEDULE].update(world_size=4)

    path = edited(mae / 'epoch_1.pth', tmp_path / 'four.pth', by_four)
    with pytest.raises(ConfigError, match='processes was 4, is 1'):
        resume(small_config(MAE, tmp_path / 'four'), path)


def test_a_seed_of_its_own_is_the_runs_on_resume(small_config, tmp_path):
    def cfg():
        cfg = small_config(MAE)
        cfg.randomness = dict(seed=None)
        return cfg

    first = launch.train(cfg())
    seed = first.seed
    shutil.copy(tmp_path / 'run/epoch_2.pth', tmp_path / 'straight.pth')
    resumed = resume(cfg(), tmp_path / 'run/epoch_1.pth')
    assert resumed.seed == seed == resumed.train_dataloader.sampler.seed
    state = read_checkpoint(tmp_path / 'straight.pth')['state_dict']
    assert all(torch.equal(v, state[k]) for k, v in resumed.model.state_dict().items())


# Transfer: what a run started from.


@pytest.fixture
def finetuned(mae, runs, small_config):
    """Fine-tuning of the MAE for two epochs; made once."""
    folder = runs / 'finetuned'
    if not folder.exists():
        launch.train(small_config(FINETUNE, folder), pretrained=str(mae / 'epoch_2.pth'))
    return folder


def test_resume_alone_continues_a_transfer_run(finetuned, mae, small_config, tmp_path):
    run = tmp_path / 'run'
    run.mkdir()
    shutil.copy(finetuned / 'epoch_1.pth', run)
    launch.train(small_config(FINETUNE), resume=True)
    (resumed,), (straight,) = records(run), records(finetuned)
    for key in ('task', 'method', 'metrics', 'pretraining', 'protocol', 'variant'):
        assert resumed[key] == straight[key], key
    assert resumed['method'] == 'mae'
    assert resumed['pretraining']['checkpoint'] == 'epoch_2.pth'
    for a, b in zip(
        *(read_checkpoint(f / 'epoch_2.pth')['state_dict'].values() for f in (run, finetuned)),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_the_same_start_may_be_given_again(finetuned, mae, small_config, tmp_path):
    cfg = small_config(FINETUNE)
    cfg.load_from = str(finetuned / 'epoch_1.pth')
    launch.train(cfg, resume=str(finetuned / 'epoch_1.pth'), pretrained=str(mae / 'epoch_2.pth'))
    (record,) = records(tmp_path / 'run')
    assert record['method'] == 'mae'


@pytest.mark.parametrize('given', ['scratch', 'epoch_1.pth'])
def test_another_start_than_the_runs_is_refused(finetuned, mae, small_config, given):
    given = given if given == 'scratch' else str(mae / given)
    with pytest.raises(ConfigError, match='This run started from epoch_2.pth, not from'):
        launch.train(
            small_config(FINETUNE), resume=str(finetuned / 'epoch_1.pth'), pretrained=given
        )


def test_a_run_from_scratch_stays_one(mae, small_config, tmp_path):
    run = tmp_path / 'run'
    launch.train(small_config(FINETUNE), pretrained='scratch')
    shutil.rmtree(run / 'records')
    (run / 'epoch_2.pth').unlink()
    with pytest.raises(ConfigError, match='This run started from scratch, not from'):
        launch.train(small_config(FINETUNE), resume=True, pretrained=str(mae / 'epoch_1.pth'))
    launch.train(small_config(FINETUNE), resume=True)
    (record,) = records(run)
    assert (record['task'], record['method']) == ('scratch', 'scratch')


def test_settings_are_leaves_by_their_paths():
    nested = dict(a=[dict(b=1), 2.5], c='x', d=None, e=[], f=logging.Logger)
    expected = {'a[0].b': 1, 'a[1]': 2.5, 'c': 'x', 'd': None, 'e': '[]', 'f': 'Logger'}
    assert dict(flatten(nested)) == expected
