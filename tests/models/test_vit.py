"""The encoder against mmpretrain's MAEViT and timm's ViT on the same weights."""

import pytest
import timm
import torch
from mmpretrain.models import MAEPretrainDecoder, MAEViT
from timm.models.vision_transformer import VisionTransformer

from mixae.models import MaskedViT

ARCH = dict(embed_dims=24, num_layers=3, num_heads=2, feedforward_channels=96)
SIZES = dict(img_size=32, patch_size=8)


def scramble(module, seed=1):
    """Weights far from their initialisation, norms and position embedding included."""
    generator = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        p.data += 0.2 * torch.randn(p.shape, generator=generator)
    return module.eval()


def images(batch=3, size=32):
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(2))


def to_timm(state):
    """mmpretrain's parameter names in timm's words."""
    renamed = {}
    for key, value in state.items():
        for ours, theirs in (
            ('patch_embed.projection', 'patch_embed.proj'),
            ('ffn.layers.0.0', 'mlp.fc1'),
            ('ffn.layers.1', 'mlp.fc2'),
            ('layers.', 'blocks.'),
        ):
            key = key.replace(ours, theirs)
        if key.startswith('blocks.'):
            key = key.replace('ln1', 'norm1').replace('ln2', 'norm2')
        renamed[key.replace('ln1.', 'norm.')] = value
    return renamed


def timm_vit(state, size=32, global_pool=''):
    vit = VisionTransformer(
        img_size=size,
        patch_size=8,
        embed_dim=24,
        depth=3,
        num_heads=2,
        num_classes=0,
        global_pool=global_pool,
        dynamic_img_size=True,
    )
    vit.load_state_dict(to_timm(state))
    return vit.eval()


@pytest.fixture(scope='module')
def pair():
    """The same weights in our encoder and in mmpretrain's."""
    ours = scramble(MaskedViT(ARCH, **SIZES, mask_ratio=0.75))
    theirs = MAEViT(ARCH, **SIZES, mask_ratio=0.75)
    theirs.eval()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def test_same_seed_same_initial_weights_as_maevit():
    states = []
    for kind in (MaskedViT, MAEViT):
        torch.manual_seed(0)
        vit = kind(ARCH, **SIZES, mask_ratio=0.75)
        vit.init_weights()
        states.append(vit.state_dict())
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_drawn_mask_is_maevits_under_the_same_seed(pair):
    outs = []
    for vit in pair:
        torch.manual_seed(5)
        outs.append(vit(images()))
    for mine, theirs in zip(*outs, strict=True):
        assert torch.equal(mine, theirs)


def test_given_visible_patches_encode_as_maevit_that_drew_them(pair):
    ours, theirs = pair
    torch.manual_seed(5)
    tokens, mask, ids_restore = theirs(images())
    visible = ids_restore.argsort(dim=1)[:, : tokens.shape[1] - 1]
    mine, mine_mask, mine_restore = ours(images(), ids_visible=visible)
    torch.testing.assert_close(mine, tokens, atol=1e-5, rtol=0)
    assert torch.equal(mine_mask, mask)
    # Mask tokens are alike, so only what the decoder makes of ids_restore must agree.
    decoder = scramble(
        MAEPretrainDecoder(16, 8, embed_dim=24, decoder_embed_dim=16, decoder_depth=1)
    )
    torch.testing.assert_close(
        decoder(mine, mine_restore), decoder(tokens, ids_restore), atol=1e-5, rtol=0
    )


def test_order_of_given_patches_only_permutes_tokens(pair):
    ours, _ = pair
    visible = torch.tensor([[3, 7, 0, 12]]).expand(3, -1)
    order = torch.tensor([2, 0, 3, 1])
    a, b = (ours(images(), ids_visible=ids)[0] for ids in (visible, visible[:, order]))
    torch.testing.assert_close(a[:, 1:][:, order], b[:, 1:], atol=1e-5, rtol=0)


@pytest.mark.parametrize('size', [32, 48, 24], ids=['own size', 'larger', 'smaller'])
def test_features_are_timms(pair, size):
    ours, _ = pair
    with torch.no_grad():
        expected = timm_vit(ours.state_dict()).forward_features(images(size=size))
        actual = ours(images(size=size), mask=None)[-1]
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def test_features_of_a_rectangle_are_timms(pair):
    ours, _ = pair
    x = images(size=48)[:, :, :32]
    with torch.no_grad():
        torch.testing.assert_close(
            ours.features(x)[-1],
            timm_vit(ours.state_dict()).forward_features(x),
            atol=1e-5,
            rtol=0,
        )


def test_intermediate_layers_are_timms(pair):
    state = pair[0].state_dict()
    ours = MaskedViT(ARCH, **SIZES, out_type='featmap', out_indices=[0, 1, 2]).eval()
    ours.load_state_dict(state)
    with torch.no_grad():
        expected = timm_vit(state).get_intermediate_layers(images(), n=3, reshape=True)
        actual = ours(images())
    # timm's last one comes before the final norm.
    for mine, theirs in zip(actual[:2], expected[:2], strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)


def test_class_token_is_timms(pair):
    state = pair[0].state_dict()
    vit = MaskedViT(ARCH, **SIZES, out_type='cls_token').eval()
    vit.load_state_dict(state)
    with torch.no_grad():
        expected = timm_vit(state).forward_features(images())[:, 0]
        torch.testing.assert_close(vit(images())[-1], expected, atol=1e-5, rtol=0)


def test_fine_tuning_pools_and_norms_as_timm_does():
    """Average of the patch tokens, then a norm of its own (timm's ``fc_norm``)."""
    vit = scramble(MaskedViT(ARCH, **SIZES, out_type='avg_featmap', final_norm=False))
    state = {
        k.replace('ln2.', 'fc_norm.') if k.startswith('ln2') else k: v
        for k, v in vit.state_dict().items()
    }
    theirs = timm_vit(state, global_pool='avg')
    with torch.no_grad():
        torch.testing.assert_close(vit(images())[-1], theirs(images()), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    'arch, reference',
    [
        ('ti', 'vit_tiny_patch16_224'),
        ('tiny', 'vit_tiny_patch16_224'),
        ('s', 'vit_small_patch16_224'),
        ('small', 'vit_small_patch16_224'),
        ('b', 'vit_base_patch16_224'),
        ('l', 'vit_large_patch16_224'),
    ],
)
def test_archs_are_the_fields(arch, reference):
    with torch.device('meta'):
        theirs = timm.create_model(reference, num_classes=0)
        ours = MaskedViT(arch)
    shapes = {k: v.shape for k, v in to_timm(ours.state_dict()).items()}
    assert shapes == {k: v.shape for k, v in theirs.state_dict().items()}
    assert ours.layers[0].attn.num_heads == theirs.blocks[0].attn.num_heads


def test_recomputed_activations_give_the_same_gradients(pair):
    grads = []
    for with_cp in (False, True):
        vit = MaskedViT(ARCH, **SIZES, with_cp=with_cp)
        vit.load_state_dict(pair[0].state_dict())
        vit.train()
        vit(images())[-1].square().sum().backward()
        grads.append({k: p.grad for k, p in vit.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    assert len(grads[0]) == len(list(pair[0].parameters())) - 1  # all but pos_embed
    for key in grads[0]:
        torch.testing.assert_close(grads[0][key], grads[1][key])


@pytest.mark.parametrize('with_cp, calls', [(False, 1), (True, 2)])
@pytest.mark.parametrize(
    'masking',
    [dict(mask=None), dict(ids_visible=torch.tensor([[3, 7, 0, 12]])), dict(mask=True)],
    ids=['all', 'given', 'drawn'],
)
def test_layers_run_again_in_the_backward_pass_with_checkpointing_only(masking, with_cp, calls):
    vit = MaskedViT(ARCH, **SIZES, mask_ratio=0.75, with_cp=with_cp).train()
    ran = []
    for i, layer in enumerate(vit.layers):
        layer.ln1.register_forward_hook(lambda *_, i=i: ran.append(i))
    vit(images(batch=1), **masking)[0].square().sum().backward()
    assert sorted(ran) == sorted([0, 1, 2] * calls)


def test_frozen_stays_in_evaluation_mode_without_gradients():
    vit = MaskedViT(ARCH, **SIZES, frozen=True, train_pos_embed=True, drop_path_rate=0.5)
    vit.init_weights()
    vit.train()
    assert not any(m.training for m in vit.modules())
    assert not any(p.requires_grad for p in vit.parameters())
    a, b = vit(images())[-1], vit(images())[-1]
    assert torch.equal(a, b)


@pytest.mark.parametrize('train', [False, True])
def test_position_embedding_trains_only_on_request(train):
    assert MaskedViT(ARCH, **SIZES, train_pos_embed=train).pos_embed.requires_grad is train


@pytest.mark.parametrize('ratio', [0, 1, -0.1, 1.5])
def test_impossible_mask_ratio_is_named(ratio):
    with pytest.raises(ValueError, match=f'mask_ratio={ratio}'):
        MaskedViT(ARCH, **SIZES, mask_ratio=ratio)


def test_without_mask_ratio_forward_never_masks():
    vit = MaskedViT(ARCH, **SIZES).eval()
    assert vit(images())[-1].shape == (3, 17, 24)
