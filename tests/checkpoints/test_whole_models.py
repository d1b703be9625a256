"""Whole models and frozen encoders from checkpoints."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mixae.checkpoints.whole_models import as_mae, load_frozen_encoder, load_model
from mixae.derive import derive
from mixae.errors import CheckpointError
from mixae.models import IMAE
from mixae.registry import MODELS

ROOT = Path(__file__).parents[2]
CONFIG = derive(Config.fromfile(ROOT / 'configs' / 'imae' / 'vitmini_digits_6e.py'))[0].model


@pytest.fixture(scope='module')
def imae():
    torch.manual_seed(0)
    return MODELS.build({**CONFIG, 'distill': None})


def save(path, state):
    torch.save(dict(state_dict=state), path)
    return path


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_an_imae_comes_without_its_teacher(imae, tmp_path, prefix):
    state = imae.state_dict() | dict(teacher_sha256=torch.zeros(32, dtype=torch.uint8))
    path = save(tmp_path / 'imae.pth', {f'{prefix}{k}': v for k, v in state.items()})
    loaded = load_model(CONFIG, path)
    assert isinstance(loaded, IMAE) and loaded.teacher is None and not loaded.training
    assert same(loaded.state_dict(), imae.state_dict())
    encoder = load_frozen_encoder(CONFIG.backbone, path)
    assert same(encoder.state_dict(), imae.backbone.state_dict())
    assert not any(p.requires_grad for p in encoder.parameters())


def test_an_mae_of_its_architecture_is_loaded_whole_or_refused(imae, tmp_path):
    state = {k: v for k, v in imae.state_dict().items() if not k.startswith('disentangle.')}
    path = save(tmp_path / 'mae.pth', state)
    assert same(load_model(as_mae(CONFIG), path).state_dict(), state)
    with pytest.raises(CheckpointError, match='mae.pth does not fit IMAE.*disentangle'):
        load_model(CONFIG, path)
