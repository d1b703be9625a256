"""The peers compute one loss; a difference stops the benchmark."""

import importlib.util
import json
import math
import random
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
    'model.backbone.patch_size': 4,
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
    assert {'mixae', 'mmpretrain', 'mixedae'} <= set(result['peers'])
    assert set(result['peers']) | set(result['absent']) == set(peers.PEERS + peers.METHODS)
    assert set(result['losses']) == set(result['peers']) - set(peers.METHODS)
    assert result['losses']['mmpretrain'] == pytest.approx(result['losses']['mixae'], rel=1e-5)
    row = result['peers']['mmpretrain']
    assert row['images_per_second'] > 0 and 0 < row['mfu'] and row['peak_mb'] is None


@pytest.mark.parametrize('library', ['transformers', 'lightly'])
def test_another_library_computes_our_loss_and_trains_our_weights(peers, library):
    pytest.importorskip(library)
    cfg = peers.steps.load_config('vitb_224', 'mae', 'fp32', 4, TINY)
    models, absent = peers.build_all(cfg, 'cpu', (library,))
    assert not absent
    data = dict(inputs=torch.randint(0, 256, (4, 3, 32, 32)), data_samples=None)
    losses = peers.same_loss(models, data)
    assert losses[library] == pytest.approx(losses['mixae'], rel=1e-5)
    norms = []
    for model in models.values():  # the gradients agree too
        torch.manual_seed(0)
        model.loss(model.data_preprocessor(data)['inputs'], None)['loss'].backward()
        grads = [p.grad.square().sum() for p in model.parameters() if p.grad is not None]
        norms.append(float(torch.stack(grads).sum()))
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)


def test_ibot_trains_a_student_on_the_tokens_of_the_paper(peers):
    pytest.importorskip('lightly')
    small = {k: v for k, v in TINY.items() if 'size' not in k}
    cfg = peers.steps.load_config('vitb_224', 'mae', 'fp32', 2, small)
    torch.manual_seed(0)
    random.seed(0)
    models, _ = peers.build_all(cfg, 'cpu', ())
    ibot = peers.IBOT(models['mixae'], cfg, outputs=16).train()
    images = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    data = dict(inputs=peers.crops(images, 16), data_samples=None)
    wrapper = peers.steps.build_optim_wrapper(
        ibot, dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
    )
    teacher = [p.clone() for p in ibot.teacher.parameters()]
    losses = []
    for _ in range(10):
        with torch.no_grad():
            losses.append(float(ibot.loss(ibot.data_preprocessor(data)['inputs'])['loss']))
        ibot.train_step(data, wrapper)
    assert ibot.tokens == 2 * 197 + 10 * 37
    assert all(map(math.isfinite, losses)) and sum(losses[5:]) < sum(losses[:5])
    moved = [not torch.equal(a, b) for a, b in zip(teacher, ibot.teacher.parameters(), strict=True)]
    assert any(moved) and all(p.grad is None for p in ibot.teacher.parameters())


def test_another_loss_or_checkout_is_refused(peers):
    cfg = peers.steps.load_config('vitb_224', 'mae', 'fp32', 2, TINY)
    models, _ = peers.build_all(cfg, 'cpu', ('mmpretrain',))
    data = dict(inputs=torch.randint(0, 256, (2, 3, 32, 32)), data_samples=None)
    torch.nn.init.normal_(models['mmpretrain'].neck.decoder_pred.weight)
    with pytest.raises(RuntimeError, match='mmpretrain computes another loss'):
        peers.same_loss(models, data)
    with pytest.raises(ConfigError, match='nowhere: no models_mae.py'):
        peers.build_facebook(models['mixae'], cfg, 'nowhere')


@pytest.mark.parametrize('run', ['', '_repeat'])
def test_the_table_is_that_of_the_committed_results(peers, run):
    readme = (BENCHMARKS / 'README.md').read_text()
    files = [f'cpu_epyc_peers_{precision}{run}.json' for precision in ('bf16', 'fp32')]
    results = [json.loads((BENCHMARKS / 'results' / file).read_text()) for file in files]
    rows = {name: [one['peers'][name] for one in results] for name in results[0]['peers']}
    if 'ibot' in rows:
        rows['MixedAE to iBOT'] = [
            {f'ratio_{k}': v for k, v in one['mixedae_over_ibot'].items()} for one in results
        ]
    del rows['mixae']
    clocks = ('cpu', 'wall')
    for name, row in rows.items():
        cells = [peers.steps.show(one[f'ratio_{clock}']) for one in row for clock in clocks]
        assert f'| {name} | {" | ".join(cells)} |' in readme, name
