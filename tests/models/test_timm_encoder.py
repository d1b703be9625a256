"""timm's encoders as backbones: their features are timm's own, their loads are checked."""

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from mixae.engine.layer_decay import LayerDecayOptimWrapperConstructor
from mixae.errors import CheckpointError, ConfigError
from mixae.models import MaskedViT, TimmEncoder

SMALL = dict(embed_dim=24, depth=3, num_heads=2)
EVA = dict(embed_dim=24, depth=2, num_heads=2)
ENCODERS = {
    'plain': ('vit_tiny_patch16_224', SMALL),
    'registers, LayerScale': ('vit_small_patch14_reg4_dinov2', SMALL),
    'SwiGLU': ('vit_giant_patch14_dinov2', SMALL),
    'no class token': ('vit_base_patch16_siglip_224', SMALL),
    'pre-norm': ('vit_base_patch16_clip_224', SMALL),
    'rotary positions': ('eva02_tiny_patch14_224', EVA),
    'QK norm': ('vit_tiny_patch16_224', dict(SMALL, qk_norm=True)),
}
SWIN = ('swin_tiny_patch4_window7_224', dict(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1,) * 4))
CONVNEXT = ('convnext_atto', dict(depths=(1, 1, 1, 1), dims=(8, 8, 16, 16)))


def encoder(kind, **options):
    name, args = kind if isinstance(kind, tuple) else ENCODERS[kind]
    torch.manual_seed(0)
    built = TimmEncoder(name, model_args=args, **options)
    for p in built.parameters():
        p.data += 0.02 * torch.randn_like(p)
    return built.eval()


@pytest.mark.parametrize('kind', ENCODERS)
def test_tokens_are_timms_at_the_size_of_pre_training(kind):
    ours = encoder(kind, img_size=56)
    x = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        stride = ours.stride
        padded = nn.functional.pad(x, (0, -56 % stride, 0, -56 % stride))
        expected = ours.model.forward_features(padded)
        torch.testing.assert_close(ours(x)[0], expected, atol=1e-5, rtol=1e-5)
        assert ours.num_extra_tokens == expected.shape[1] - (-(-56 // stride)) ** 2


@pytest.mark.parametrize('kind', ['registers, LayerScale', 'no class token', 'rotary positions'])
def test_a_map_of_every_layer_at_any_size(kind):
    maps = encoder(kind, out_type='featmap', out_indices=[0, 1], norm_outputs=True)
    tokens = encoder(kind, out_indices=[0, 1], norm_outputs=True)
    x = torch.randn(1, 3, 40, 70)
    grid = tuple(-(-size // maps.stride) for size in x.shape[-2:])
    with torch.no_grad():
        for map_BDHW, tokens_BND in zip(maps(x), tokens(x), strict=True):
            assert map_BDHW.shape == (1, 24, *grid)
            patches = tokens_BND[:, tokens.num_extra_tokens :]
            assert torch.equal(map_BDHW.flatten(2).transpose(1, 2), patches)


@pytest.mark.parametrize('kind', [SWIN, CONVNEXT], ids=['swin', 'convnext'])
def test_hierarchical_encoders_give_maps_of_strides_4_to_32(kind):
    x = torch.randn(1, 3, 90, 120)
    with torch.no_grad():
        maps = encoder(kind, out_type='featmap', out_indices=[0, 1, 2, 3])(x)
        assert [m.shape[-2:] for m in maps] == [(24, 32), (12, 16), (6, 8), (3, 4)]
        pooled = encoder(kind, out_type='avg_featmap')
        padded = nn.functional.pad(x, (0, 8, 0, 6))
        assert torch.equal(pooled(x)[0], pooled.model(padded))
        assert encoder(kind, out_type='raw')(x)[0].shape == (1, 12, pooled.width)
    dims = TimmEncoder.dimensions(
        dict(model=kind[0], model_args=kind[1], out_indices=[0, 1, 2, 3], img_size=None)
    )
    assert dims['out_channels'] == [m.shape[1] for m in maps] and dims['patch_size'] == 32


def test_a_dropped_final_norm_and_a_fresh_one_behind_the_mean():
    x = torch.randn(2, 3, 32, 32)
    fresh = encoder('plain', out_type='avg_featmap', final_norm=False, img_size=32)
    raw = encoder('plain', final_norm=False, img_size=32)
    own = encoder('plain', img_size=32)
    with torch.no_grad():
        raw.model.load_state_dict(fresh.model.state_dict())
        expected = fresh.fresh_norm(raw(x)[0][:, 1:].mean(dim=1))
        assert torch.equal(fresh(x)[0], expected)
        own.model.load_state_dict(
            raw.model.state_dict() | own.model.norm.state_dict(prefix='norm.')
        )
        torch.testing.assert_close(own(x)[0], own.model.norm(raw(x)[0]))


def test_activation_checkpointing_changes_nothing_and_frozen_stays_so():
    x = torch.randn(2, 3, 32, 32)
    results = []
    for with_cp in (False, True):
        model = encoder('plain', img_size=32, with_cp=with_cp).train()
        model(x)[0].square().sum().backward()
        results.append(model.model.blocks[0].attn.qkv.weight.grad)
    torch.testing.assert_close(*results)
    frozen = encoder('plain', frozen=True, drop_path_rate=0.5)
    assert not frozen.train().model.training and not any(
        p.requires_grad for p in frozen.parameters()
    )


@pytest.mark.parametrize('kind', [ENCODERS['plain'], SWIN], ids=['plain', 'swin'])
def test_layer_decay_is_timms(kind):
    model = nn.Module()
    model.backbone = encoder(kind)
    model.head = nn.Linear(model.backbone.width, 2)
    constructor = LayerDecayOptimWrapperConstructor(
        dict(optimizer=dict(type='SGD', lr=1.0, weight_decay=0.1)), dict(layer_decay_rate=0.5)
    )
    ours = {}
    for group in constructor(model).param_groups:
        ours |= {id(p): group['lr'] for p in group['params']}
    for group in param_groups_layer_decay(model.backbone.model, layer_decay=0.5):
        for p in group['params']:
            assert ours[id(p)] == pytest.approx(group['lr_scale'])
    assert ours[id(model.head.weight)] == 1


def test_a_checkpoint_of_ours_is_the_same_in_both(tmp_path):
    vit = MaskedViT(
        dict(embed_dims=24, num_layers=3, num_heads=2, feedforward_channels=96),
        img_size=32,
        patch_size=16,
        out_type='raw',
    ).eval()
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in vit.state_dict().items()}), path)
    timms = TimmEncoder(
        'vit_tiny_patch16_224', model_args=SMALL, img_size=32, pretrained=str(path)
    ).eval()
    timms.init_weights()
    x = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(timms(x)[0], vit(x)[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    'change, match',
    [
        (lambda s: s.pop('blocks.1.attn.proj.bias'), '1 missing keys: blocks.1.attn.proj.bias'),
        (lambda s: s.update(extra=torch.ones(1)), '1 unexpected keys: extra'),
        (
            lambda s: s.update({'norm.weight': torch.ones(5)}),
            r'1 keys of another shape: norm.weight: \(5,\)',
        ),
    ],
)
def test_a_load_that_does_not_fit_names_the_key(tmp_path, change, match):
    state = dict(encoder('plain').model.state_dict())
    change(state)
    torch.save(state, tmp_path / 'x.pth')
    built = encoder('plain', pretrained=str(tmp_path / 'x.pth'))
    with pytest.raises(CheckpointError, match=match):
        built.init_weights()


def test_a_classifiers_head_is_dropped_and_another_patch_size_resampled(tmp_path):
    classifier = timm.create_model('vit_tiny_patch16_224', **SMALL)
    torch.save(dict(model=classifier.state_dict()), tmp_path / 'x.pth')
    built = TimmEncoder(
        'vit_tiny_patch16_224',
        model_args=dict(SMALL, patch_size=8),
        img_size=64,
        pretrained=str(tmp_path / 'x.pth'),
    )
    built.init_weights()
    assert torch.equal(built.model.blocks[0].norm1.weight, classifier.blocks[0].norm1.weight)
    assert built.model.pos_embed.shape[1] == 65 and built.stride == 8


@pytest.mark.parametrize(
    'options, match',
    [
        (dict(model='vit_smal_patch16_224'), 'is no model of timm .* near it are vit_small'),
        (dict(model='timm:vit_small_patch14_dinov2.foo'), "no weights 'foo'; there are lvd142m"),
        (dict(model='vit_tiny_patch16_224', out_type='cls'), 'expected one of raw, cls_token'),
        (dict(model='vit_tiny_patch16_224', out_indices=12), 'there are layers 0..11'),
        # timm returns [1, 11] for it, and the final norm was that of layer 1's features.
        (dict(model='vit_tiny_patch16_224', out_indices=[-1, 1]), r'the layers \[11, 1\].*first'),
        (dict(model='vit_tiny_patch16_224', out_indices=[11, -1]), 'expected different ones'),
        (dict(model='vit_tiny_patch16_224', out_indices=[]), 'expected different ones'),
        (
            dict(model='vit_base_patch16_siglip_224', model_args=SMALL, out_type='cls_token'),
            'has no class token',
        ),
        (dict(model='vit_tiny_patch16_224', model_args=dict(depht=3)), 'depht'),
    ],
)
def test_mistakes_are_named(options, match):
    with pytest.raises(ConfigError, match=match):
        TimmEncoder(**options)


def test_arguments_of_a_model_may_be_lists():
    args = dict(SMALL, img_size=[32, 48], patch_size=16)
    dims = TimmEncoder.dimensions(dict(model='vit_tiny_patch16_224', model_args=args))
    assert (dims['width'], dims['depth'], dims['num_extra_tokens']) == (24, 3, 1)


def test_beit_takes_one_size():
    beit = encoder(('beit_base_patch16_224', SMALL), img_size=32)
    assert beit(torch.randn(1, 3, 32, 32))[0].shape == (1, 5, 24)
    with pytest.raises(ConfigError, match='32x32 pixels only'):
        beit(torch.randn(1, 3, 48, 32))
