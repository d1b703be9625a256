"""Whole models and frozen encoders from checkpoints."""

import copy

import pytest
import torch

from mixae.checkpoints.whole_models import as_mae, load_frozen_encoder, load_model
from mixae.errors import CheckpointError
from mixae.models import IMAE
from mixae.registry import MODELS

BACKBONE = dict(
    type='mixae.MaskedViT',
    arch=dict(embed_dims=12, num_layers=1, num_heads=2, feedforward_channels=24),
    img_size=16,
    patch_size=4,
    mask_ratio=0.75,
)
DECODER = dict(decoder_embed_dim=8, decoder_depth=1, decoder_num_heads=2)
CONFIG = dict(
    type='mixae.IMAE',
    backbone=BACKBONE,
    neck=dict(
        type='mmpretrain.MAEPretrainDecoder', num_patches=16, patch_size=4, embed_dim=12, **DECODER
    ),
    head=dict(
        type='mmpretrain.MAEPretrainHead',
        patch_size=4,
        loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2'),
    ),
    mix=dict(beta=1.0),
    disentangle=dict(type='mixae.Disentanglement'),
    distill=dict(type='mixae.PatchDistillationLoss'),
    teacher=dict(checkpoint='not/there.pth'),
)


@pytest.fixture(scope='module')
def imae():
    torch.manual_seed(0)
    return MODELS.build({**copy.deepcopy(CONFIG), 'distill': None})


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
    encoder = load_frozen_encoder(BACKBONE, path)
    assert same(encoder.state_dict(), imae.backbone.state_dict())
    assert not any(p.requires_grad for p in encoder.parameters())


def test_an_mae_of_its_architecture_is_loaded_whole_or_refused(imae, tmp_path):
    state = {k: v for k, v in imae.state_dict().items() if not k.startswith('disentangle.')}
    path = save(tmp_path / 'mae.pth', state)
    assert same(load_model(as_mae(CONFIG), path).state_dict(), state)
    with pytest.raises(CheckpointError, match='mae.pth does not fit IMAE.*disentangle'):
        load_model(CONFIG, path)
