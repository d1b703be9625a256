"""Files of others run no code, whichever way they are read."""

import contextlib
import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from safetensors.torch import save_file

from mixae.checkpoints.account import read_origin
from mixae.checkpoints.export import export
from mixae.checkpoints.load import load_encoder, load_weights
from mixae.checkpoints.read import read_checkpoint
from mixae.checkpoints.whole_models import as_mae, load_frozen_encoder, load_model
from mixae.datasets.pseudo_labels import load_pseudo_labels
from mixae.engine import launch
from mixae.engine.hooks.record import _description
from mixae.engine.work_dir import latest_checkpoint
from mixae.errors import DataError, MixaeError, RecordError
from mixae.evaluation.pseudo_labels import make_pseudo_labels
from mixae.evaluation.separability.command import table_4
from mixae.evaluation.separability.protocol import Protocol
from mixae.models import MaskedViT
from mixae.registry import MODELS
from mixae.results.record import read_record
from mixae.visualization.curves import plot_topk_accuracy
from mixae.visualization.dense_pictures import draw_predictions
from mixae.visualization.reconstruction import reconstruction_picture
from tests.checkpoints.crafted import Call
from tests.models.parts import mae_parts

ROOT = Path(__file__).parents[2]
MAE = 'mae/vitt_cifar10_2000e.py'
IMAE = 'imae/vitt_cifar10_2000e.py'
TUNE = 'transfer/cifar/cifar10_vitt_finetune.py'
KNN = 'transfer/cifar/cifar10_vitt_knn.py'
ARCH = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)


@pytest.fixture(autouse=True)
def scope():
    """A segmentor's scope does not outlive its test."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def mark(tmp_path):
    """The file that an attack makes."""
    return tmp_path / 'executed'


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    return tmp_path_factory.mktemp('trained') / 'epoch_1.pth'


@pytest.fixture
def content(trained, small_config):
    """A checkpoint of an MAE after one of two epochs; trained once."""
    if not trained.exists():
        launch.train(small_config(MAE, trained.parent))
    return torch.load(trained, weights_only=False)


def text(mark) -> str:
    """A config as mmengine's Runner executes it."""
    return f'open({str(mark)!r}, "w").close()\nmodel = dict(type="mixae.MixedAE")\n'


def command(mark) -> Call:
    return Call(os.system, f'touch {mark}')


# The ways in which a checkpoint is read. Each takes its path and the fixture of small configs.


def encoder(**options):
    return MaskedViT(ARCH, img_size=32, patch_size=8, **options)


# An i-MAE's model, or an MAE's, with nothing left to derive.
PARTS = mae_parts(ARCH, img_size=32, patch_size=8, mask_ratio=0.75)
MIXTURE = dict(
    mix=dict(beta=1.0),
    disentangle=dict(type='mixae.Disentanglement'),
    distill=dict(type='mixae.PatchDistillationLoss'),
)


def of_model(function):
    def load(path, _):
        function(copy.deepcopy(dict(type='mixae.IMAE', **PARTS, **MIXTURE)), str(path))

    return load


def student(config, path):
    MODELS.build({**config, 'teacher': dict(checkpoint=path)})


def picture(path, small_config):
    reconstruction_picture(small_config(MAE), path, path.with_suffix('.png'), num_images=2)


def predictions(path, small_config):
    cfg = Config.fromfile(ROOT / 'configs/transfer/digit_scenes/vitmini_segmentation.py')
    draw_predictions(cfg, path, path.parent / 'pictures')


def separability(path, small_config):
    table_4(small_config(IMAE), [str(path)], str(path), small_config(KNN), Protocol())


def resume_file(path, small_config):
    launch.train(small_config(MAE), resume=str(path))


def resume_folder(path, small_config):
    launch.train(small_config(MAE, path.parent), resume=True)


WAYS = {
    'read': lambda path, _: read_checkpoint(path),
    'account': lambda path, _: read_origin(path),
    'encoder': lambda path, _: load_encoder(encoder(), path),
    'model': lambda path, _: load_weights(encoder(), path),
    'backbone': lambda path, _: encoder(pretrained=str(path)).init_weights(),
    'teacher': of_model(student),
    'pre-trained': lambda path, config: launch.train(config(TUNE, epochs=1), pretrained=str(path)),
    'resume file': resume_file,
    'resume folder': resume_folder,
    'newest': lambda path, _: latest_checkpoint(path.parent),
    'test': lambda path, config: launch.test(config(TUNE), str(path)),
    'probe': lambda path, config: launch.test(config(KNN), str(path)),
    'export': lambda path, _: export(path, 'timm', path.with_suffix('.safetensors')),
    'reconstructions': picture,
    'predictions': predictions,
    "i-MAE's pictures": of_model(load_model),
    "MAE's pictures": of_model(lambda cfg, path: load_model(as_mae(cfg), path)),
    'encoder of pictures': of_model(lambda cfg, path: load_frozen_encoder(cfg['backbone'], path)),
    'separability': separability,
    'pseudo-labels': lambda path, config: make_pseudo_labels(
        config(KNN), str(path), path.with_suffix('.npz'), k=2
    ),
}
BUILDS_A_SEGMENTOR = pytest.param('predictions', marks=pytest.mark.dense)


@pytest.mark.parametrize('way', [BUILDS_A_SEGMENTOR if w == 'predictions' else w for w in WAYS])
def test_a_checkpoint_that_would_run_a_command_is_refused(
    way, content, mark, tmp_path, small_config
):
    path = tmp_path / 'others' / 'epoch_1.pth'
    path.parent.mkdir()
    torch.save(content | dict(extra=command(mark)), path)
    with pytest.raises(MixaeError) as caught:
        WAYS[way](path, small_config)
    assert not mark.exists()
    assert str(path.parent) in str(caught.value) and '\n' not in str(caught.value)
    torch.load(path, weights_only=False)  # the file is hostile indeed
    assert mark.exists()


@pytest.mark.parametrize('way', [BUILDS_A_SEGMENTOR if w == 'predictions' else w for w in WAYS])
def test_the_text_of_a_config_in_a_checkpoint_is_not_executed(
    way, content, mark, tmp_path, small_config
):
    path = tmp_path / 'others' / 'epoch_1.pth'
    path.parent.mkdir()
    content['meta'] |= dict(config=text(mark), cfg=text(mark))
    torch.save(content, path)
    with contextlib.suppress(MixaeError):  # of ways that are for other models
        WAYS[way](path, small_config)
    assert not mark.exists()
    if way.startswith('resume'):  # it goes on where it was
        assert read_checkpoint(next(tmp_path.rglob('epoch_2.pth')))['meta']['epoch'] == 2
    Config.fromstring(text(mark), '.py')  # the text is hostile indeed
    assert mark.exists()


@pytest.mark.parametrize('kind', ['old format', 'pickle', 'protocol 4', 'safetensors'])
def test_so_is_a_file_of_another_format(kind, mark, tmp_path):
    path = tmp_path / 'epoch_1.pth'
    hostile = dict(state_dict=dict(w=torch.ones(1)), extra=command(mark))
    if kind == 'old format':
        torch.save(hostile, path, _use_new_zipfile_serialization=False)
    else:
        path = path.with_suffix('.safetensors') if kind == 'safetensors' else path
        path.write_bytes(pickle.dumps(hostile, protocol=4 if kind == 'protocol 4' else 2))
    with pytest.raises(MixaeError, match=f'{path} cannot be read'):
        read_checkpoint(path)
    assert not mark.exists()


def test_what_safetensors_say_of_themselves_is_not_executed(mark, tmp_path):
    path = tmp_path / 'w.safetensors'
    state = {f'backbone.{k}': v for k, v in encoder().state_dict().items()}
    told = dict(config=text(mark), meta=json.dumps(dict(config=text(mark))), mixae=text(mark))
    save_file(state, path, metadata=told)
    assert load_encoder(encoder(), path) == {}
    assert not mark.exists()


# Other files.


@pytest.mark.parametrize('part', ['labels', 'provenance'])
def test_pseudo_labels_are_not_unpickled(part, mark, tmp_path):
    path = tmp_path / 'labels.npz'
    parts = dict(labels=np.zeros(3, np.int32), provenance='{}')
    np.savez(path, **parts | {part: np.array([command(mark)], dtype=object)})
    with pytest.raises(DataError, match=f'{path} is no file of pseudo-labels'):
        load_pseudo_labels(path, [1, 2, 3])
    assert not mark.exists()
    np.load(path, allow_pickle=True)[part]  # the file is hostile indeed
    assert mark.exists()


@pytest.mark.parametrize('hostile', ['text', 'pickle'])
def test_records_and_curves_are_data(hostile, mark, tmp_path):
    path = tmp_path / 'a.record.json'
    if hostile == 'pickle':
        path.write_bytes(pickle.dumps(command(mark), protocol=0))
    else:
        evil = f'__import__("os").system("touch {mark}")'
        path.write_text(json.dumps(dict(schema_version=evil, curves=evil, metrics={evil: evil})))
    with pytest.raises(RecordError):
        read_record(path)
    with contextlib.suppress(Exception):
        plot_topk_accuracy(path, tmp_path / 'a.png')
    assert not mark.exists()


def test_so_is_what_the_data_says_of_itself(mark, tmp_path):
    (tmp_path / 'dataset.json').write_text(json.dumps(dict(description=text(mark))))
    data = SimpleNamespace(dataset=SimpleNamespace(data_root=str(tmp_path)))
    runner = SimpleNamespace(
        _test_loop=SimpleNamespace(dataloader=data),
        logger=SimpleNamespace(warning=lambda _: None),
    )
    _description(runner)
    assert not mark.exists()


@pytest.mark.slow
def test_so_is_the_state_of_a_suite(mark, tmp_path):
    evil = f'__import__("os").system("touch {mark}")'
    command = [sys.executable, 'tools/run_suite.py', 'configs/suites/demo_quick.py', '--dry-run']
    command += ['--work-dir', str(tmp_path / 'suite')]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    states = [
        json.dumps(
            dict(key=evil, command=[evil], settings={evil: evil}, outputs=[{}], failed=evil)
        ),
        json.dumps([evil]),
        pickle.dumps(Call(os.system, f'touch {mark}'), protocol=0).decode('latin1'),
    ]
    plan = Config.fromfile(ROOT / command[2])
    for state in states:
        for name in plan.pretrain:
            for seed in plan.seeds:
                path = tmp_path / 'suite' / f'{name}_seed{seed}' / 'pretrain' / 'run.json'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(state)
        subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=300)
        assert not mark.exists()
