"""The peers compute one loss; a difference stops the benchmark."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from mixae.errors import ConfigError

BENCHMARKS = Path(__file__).resolve().parents[2] / 'benchmarks'
TINY = {
    'model.backbone.arch': dict(
        _delete_=True, embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=128
    ),
    'model.backbone.img_size': 32,
    'model.backbone.patch_size': 8,
    'model.neck.decoder_embed_dim': 32,
    'model.neck.decoder_depth': 1,
    'model.neck.decoder_num_heads': 2,
}


@pytest.fixture
def peers():
    spec = importlib.util.spec_from_file_location('peers', BENCHMARKS / 'peers.py')
    module = sys.modules['peers'] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.steps.quiet()
    module.steps.init_default_scope('mmpretrain')
    return module


def test_installed_peers_are_measured_and_the_others_named(peers):
    result = peers.measure('bf16', 4, rounds=1, warmup=0, options=TINY, peak_tflops=1.0)
    assert {'mixae', 'mmpretrain'} <= set(result['peers'])
    assert set(result['peers']) | set(result['absent']) == set(peers.PEERS)
    assert result['losses']['mmpretrain'] == pytest.approx(result['losses']['mixae'], rel=1e-5)
    row = result['peers']['mmpretrain']
    assert row['images_per_second'] > 0 and 0 < row['mfu'] and row['peak_mb'] is None


def test_another_loss_or_checkout_is_refused(peers):
    cfg = peers.steps.load_config('vitb_224', 'mae', 'fp32', 2, TINY)
    models, _ = peers.build_all(cfg, 'cpu', ('mmpretrain',))
    data = dict(inputs=torch.randint(0, 256, (2, 3, 32, 32)), data_samples=None)
    torch.nn.init.normal_(models['mmpretrain'].neck.decoder_pred.weight)
    with pytest.raises(RuntimeError, match='mmpretrain computes another loss'):
        peers.same_loss(models, data)
    with pytest.raises(ConfigError, match='nowhere: no models_mae.py'):
        peers.build_facebook(models['mixae'], cfg, 'nowhere')
