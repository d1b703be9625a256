"""Checkpoints: read safely, loaded whole or not at all."""

import argparse
import os
import pickle

import pytest
import torch
from mmengine.logging import MessageHub
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from mixae.checkpoints.load import encoder_state, load_encoder
from mixae.checkpoints.read import read_checkpoint
from mixae.errors import CheckpointError
from mixae.models import MaskedViT

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


def vit(**options):
    return MaskedViT(ARCH, **dict(img_size=32, patch_size=8) | options)


def scrambled(module):
    for p in module.parameters():
        p.data = torch.randn_like(p)
    return module


def save(path, state, prefix='backbone.', **more):
    torch.save(dict(state_dict={prefix + k: v for k, v in state.items()}, **more), path)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'epoch_1.pth'


class Hostile:
    """Unpickling it runs a command."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f'touch {self.mark}',)


@pytest.mark.parametrize('where', ['beside the weights', 'among the weights', 'plain pickle'])
def test_a_hostile_file_is_refused_and_not_run(path, tmp_path, where):
    mark = tmp_path / 'executed'
    state = vit().state_dict()
    if where == 'beside the weights':
        save(path, state, meta=Hostile(mark))
    elif where == 'among the weights':
        save(path, {**state, 'x': Hostile(mark)})
    else:
        path.write_bytes(pickle.dumps(Hostile(mark)))
    with pytest.raises(CheckpointError, match=f'{path} cannot be read.*never unpickled'):
        read_checkpoint(path)
    assert not mark.exists()
    if where == 'beside the weights':  # the file is hostile indeed
        torch.load(path, weights_only=False)
        assert mark.exists()


@pytest.mark.parametrize('kept', [0, 10, 0.5, 0.99])
def test_a_truncated_file_is_named(path, kept):
    content = save(path, vit().state_dict()).read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    with pytest.raises(CheckpointError, match=f'{path} cannot be read'):
        read_checkpoint(path)


def test_a_missing_file_is_named(path):
    with pytest.raises(CheckpointError, match=f'no checkpoint at {path}'):
        read_checkpoint(path)


@pytest.mark.parametrize(
    'content, message',
    [([1, 2], 'holds a list'), ({}, 'no state_dict'), (dict(epoch=3), "it holds 'epoch'")],
)
def test_a_file_without_weights_is_named(path, content, message):
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)


def test_bare_weights_are_a_state_dict(path):
    torch.save(dict(w=torch.ones(2)), path)
    assert torch.equal(read_checkpoint(path)['state_dict']['w'], torch.ones(2))


def test_safetensors_are_read_and_refused_when_cut(tmp_path):
    path = tmp_path / 'w.safetensors'
    save_file({'backbone.w': torch.arange(3.0)}, path)
    assert torch.equal(encoder_state(read_checkpoint(path))['w'], torch.arange(3.0))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=f'{path} cannot be read'):
        read_checkpoint(path)


def test_what_mmengine_puts_beside_the_weights_is_read(path):
    hub = MessageHub('test_pretrained')
    hub.update_scalar('train/loss', 1.5)
    hub.update_scalar('train/loss', torch.tensor(0.5))
    hub.update_info('iter', 3)
    save(path, vit().state_dict(), message_hub=hub.state_dict(), meta=dict(epoch=1, classes=('a',)))
    content = read_checkpoint(path)
    history, _ = content['message_hub']['log_scalars']['train/loss'].data
    assert history.tolist() == [1.5, 0.5]
    assert content['meta'] == dict(epoch=1, classes=('a',))


def test_what_training_scripts_of_mae_and_timm_put_beside_the_weights_is_read(path):
    weights = vit().state_dict()
    args = argparse.Namespace(lr=1e-3, betas=(0.9, 0.95), data='/data')
    torch.save(dict(model=weights, optimizer=dict(state={}), epoch=799, args=args), path)
    content = read_checkpoint(path)
    assert content['args'].lr == 1e-3 and content['state_dict'].keys() == weights.keys()


def test_the_encoder_is_loaded_whole_beside_other_parts(path):
    source, target = scrambled(vit()), vit()
    state = {f'backbone.{k}': v for k, v in source.state_dict().items()}
    state |= {'neck.mask_token': torch.zeros(1), 'segment_embed': torch.zeros(4, 16)}
    torch.save(dict(state_dict=state, mixae=dict(method='mixedae')), path)
    told = load_encoder(target, path)
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value), key
    assert told == dict(mixae=dict(method='mixedae'))


def test_a_distributed_prefix_is_dropped(path):
    source, target = scrambled(vit()), vit()
    load_encoder(target, save(path, source.state_dict(), prefix='module.backbone.'))
    assert torch.equal(target.cls_token, source.cls_token)


@pytest.mark.parametrize(
    'damage, message',
    [
        (lambda s: s.pop('layers.1.attn.qkv.weight'), '1 missing keys: layers.1.attn.qkv.weight'),
        (lambda s: s.update(extra=torch.ones(1)), '1 unexpected keys: extra'),
        (
            lambda s: s.update({'layers.0.ln1.weight': torch.ones(5)}),
            r'1 keys of another shape: layers.0.ln1.weight: \(5,\) in .*, \(16,\) in the model',
        ),
        (lambda s: s.pop('cls_token'), 'missing keys: cls_token'),
        (lambda s: s.pop('pos_embed'), 'missing keys: pos_embed'),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_named_and_not_loaded(path, damage, message):
    state = dict(scrambled(vit()).state_dict())
    damage(state)
    target = vit()
    before = {k: v.clone() for k, v in target.state_dict().items()}
    with pytest.raises(CheckpointError, match=f'{path} does not fit MaskedViT.*{message}'):
        load_encoder(target, save(path, state))
    assert all(torch.equal(v, before[k]) for k, v in target.state_dict().items())


@pytest.mark.parametrize(
    'other',
    [dict(arch=dict(ARCH, num_layers=3)), dict(arch=dict(ARCH, embed_dims=24)), dict(patch_size=4)],
    ids=['deeper', 'wider', 'other patches'],
)
def test_another_architecture_is_refused(path, other):
    arch = other.pop('arch', ARCH)
    save(path, MaskedViT(arch, **dict(img_size=32, patch_size=8) | other).state_dict())
    with pytest.raises(CheckpointError, match='Choose the config of the architecture'):
        load_encoder(vit(), path)


def test_many_wrong_keys_are_counted_and_the_first_named(path):
    with pytest.raises(CheckpointError, match=r'\d\d missing keys: .*, \.\.\.'):
        load_encoder(vit(), save(path, dict(other=torch.ones(1))))


def test_a_checkpoint_without_an_encoder_is_refused(path):
    save(path, dict(weight=torch.ones(1)), prefix='encoder.')
    with pytest.raises(CheckpointError, match='no encoder: none of its .* keys starts with'):
        load_encoder(vit(), path)


def test_the_final_norm_may_be_dropped_or_fresh(path):
    source = scrambled(vit())
    target = vit(out_type='avg_featmap', final_norm=False)
    fresh = {k: v.clone() for k, v in target.state_dict().items() if k.startswith('ln2')}
    assert fresh
    load_encoder(target, save(path, source.state_dict()))
    assert torch.equal(target.layers[1].ln2.weight, source.layers[1].ln2.weight)
    assert all(torch.equal(target.state_dict()[k], v) for k, v in fresh.items())


def test_a_layers_own_norm_is_no_exception(path):
    state = scrambled(vit()).state_dict()
    del state['layers.1.ln2.weight']
    with pytest.raises(CheckpointError, match='missing keys: layers.1.ln2.weight'):
        load_encoder(vit(), save(path, state))


@pytest.mark.parametrize('size', [64, 48, 16])
def test_position_embedding_of_another_grid_is_resampled_as_timm_does(path, size):
    source, target = scrambled(vit()), vit(img_size=size)
    load_encoder(target, save(path, source.state_dict()))
    expected = resample_abs_pos_embed(source.pos_embed, new_size=[size // 8] * 2)
    torch.testing.assert_close(target.pos_embed, expected)


def test_initialising_loads_the_checkpoint(path):
    source = scrambled(vit())
    target = vit(pretrained=str(save(path, source.state_dict())))
    target.init_weights()
    assert torch.equal(target.layers[0].attn.qkv.weight, source.layers[0].attn.qkv.weight)
