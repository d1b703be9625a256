"""Watching leaves no trace in a training, and reads what the probes would."""

import random
import shutil

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from mixae.engine import launch
from mixae.engine.hooks.sanity_check import undisturbed
from mixae.engine.hooks.topk_accuracy import read_curve
from mixae.errors import ConfigError, DataError
from mixae.evaluation.watching import WatchHook, draw_watched, rank_me

KNN = 'configs/transfer/tiny_imagenet/vits_knn.py'


def config(small_config, folder, image_folder, watched, epochs=3, method='mixedae'):
    cfg = small_config(f'{method}/vits_tiny_imagenet_1000e.py', folder, epochs)
    hook = dict(type='mixae.WatchHook', config=KNN, interval=2, subset=20)
    cfg.custom_hooks = [hook | dict(data_root=str(image_folder))] if watched else []
    return cfg


@pytest.fixture(autouse=True)
def test_split(monkeypatch, image_folder):
    """The set's test split is called 'val' in the config, and 'test' in these images."""
    link = image_folder / 'val'
    if not link.exists():
        link.symlink_to(image_folder / 'test')


def weights(folder, epoch):
    return torch.load(folder / f'epoch_{epoch}.pth', weights_only=False)


@pytest.mark.parametrize('method', ['mae', 'mixedae'])
def test_a_run_with_the_hook_has_the_weights_of_one_without(
    small_config, image_folder, tmp_path, method
):
    for watched in (True, False):
        folder = tmp_path / str(watched)
        launch.train(config(small_config, folder, image_folder, watched, method=method))
    for epoch in (2, 3):
        with_hook, without = (weights(tmp_path / str(w), epoch) for w in (True, False))
        for part in ('state_dict',):
            assert with_hook[part].keys() == without[part].keys()
            for key, value in with_hook[part].items():
                assert torch.equal(value, without[part][key]), key
        moments = [c['optimizer']['state'] for c in (with_hook, without)]
        for index, state in moments[0].items():
            assert torch.equal(state['exp_avg'], moments[1][index]['exp_avg'])
    rows = read_curve(tmp_path / 'True/watched.jsonl')
    assert [row['epoch'] for row in rows] == [2, 3], 'every second, and the last'
    assert all(0 <= row['knn'] <= 100 and 0 <= row['linear'] <= 100 for row in rows)
    assert all(1 <= row['rankme'] <= 16 and row['loss'] > 0 for row in rows)
    assert (tmp_path / 'True/watched.png').stat().st_size > 5000
    assert not (tmp_path / 'False/watched.jsonl').exists()


def test_a_resumed_run_reads_and_trains_as_one_that_never_stopped(
    small_config, image_folder, tmp_path
):
    launch.train(config(small_config, tmp_path, image_folder, True, method='mae'))
    straight, rows = weights(tmp_path, 3), read_curve(tmp_path / 'watched.jsonl')
    (tmp_path / 'epoch_3.pth').unlink()
    cfg = config(small_config, tmp_path, image_folder, True, method='mae')
    launch.train(cfg, resume=str(tmp_path / 'epoch_2.pth'))
    for key, value in weights(tmp_path, 3)['state_dict'].items():
        assert torch.equal(value, straight['state_dict'][key]), key
    again = read_curve(tmp_path / 'watched.jsonl')
    assert [{k: v for k, v in row.items() if k != 'loss'} for row in again] == [
        {k: v for k, v in row.items() if k != 'loss'} for row in rows
    ]


def test_generators_and_modes_are_put_back_even_after_an_error():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout()).train()
    model[0].eval()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with pytest.raises(KeyError), undisturbed(model):
        model.eval()
        random.seed(5), np.random.seed(5), torch.manual_seed(5)
        raise KeyError
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected
    assert [m.training for m in model.modules()] == [True, False, True]


def test_a_probe_that_is_watched_is_not_tested_on_its_own_images(
    small_config, image_folder, tmp_path
):
    shutil.copytree(image_folder / 'train', tmp_path / 'data' / 'train')
    (tmp_path / 'data' / 'val').symlink_to(tmp_path / 'data' / 'train')
    cfg = config(small_config, tmp_path / 'run', tmp_path / 'data', True)
    cfg.train_dataloader.dataset.dataset.data_root = str(image_folder)
    with pytest.raises(DataError, match='20 of the 20 test images are training images'):
        launch.train(cfg)


def test_rank_me_is_the_exponential_of_the_entropy_of_singular_values():
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(50, 8)))
    assert rank_me(basis) == pytest.approx(8, abs=1e-3)
    assert rank_me(np.outer(rng.normal(size=50), rng.normal(size=8))) == pytest.approx(1, abs=1e-3)
    features = rng.normal(size=(40, 6)).astype(np.float32) * np.arange(1, 7)
    values = np.sqrt(np.linalg.eigvalsh(features.T.astype(float) @ features))
    assert rank_me(features) == pytest.approx(np.exp(entropy(values)), rel=1e-4)
    assert np.isfinite(rank_me(np.zeros((5, 4))))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(config='nowhere.py'), 'there is no config nowhere.py'),
        (dict(config=KNN, interval=0), 'interval=0, subset=2000: expected'),
        (dict(config=KNN, subset=1), 'subset=1: expected'),
        (dict(config=KNN, pool='max'), "pool='max' is unknown"),
    ],
)
def test_options_that_cannot_be_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        WatchHook(**options)


def test_a_loss_that_is_not_known_is_left_out_of_the_picture(tmp_path):
    rows = [dict(epoch=2, loss=None, knn=10, linear=20, rankme=3)]
    assert draw_watched(rows, tmp_path / 'a.png').is_file()
