"""MixedAE: it contains MAE, and adds what the paper adds."""

import copy

import pytest
import torch
from mmpretrain.models import MAE, MAEViT
from pytorch_metric_learning.losses import SupConLoss
from torch import nn

from mixae.models import MixedAE
from mixae.models.layers.masking import masks_from_visible
from mixae.models.layers.mixing import complementary_masks
from mixae.registry import MODELS
from tests.models.parts import mae_parts

L, D, G, B = 16, 24, 4, 8
ARCH = dict(embed_dims=D, num_layers=3, num_heads=2, feedforward_channels=48)
PARTS = mae_parts(ARCH, img_size=32, patch_size=8)
CONTRAST = dict(type='mixae.HomologousContrastiveLoss', in_dim=D, proj_dim=8)


def build(mode='topk', topk='auto', contrast=None, seed=0, **options) -> MixedAE:
    torch.manual_seed(seed)
    attention = dict(mode=mode, topk=topk) | options.pop('attention', {})
    model = MODELS.build(
        dict(
            type='mixae.MixedAE',
            **copy.deepcopy(PARTS),
            attention=attention,
            contrast=contrast,
            **options,
        )
    )
    model.init_weights()
    for name, p in model.named_parameters():
        if name != 'segment_embed' and p.requires_grad:
            p.data += 0.1 * torch.randn_like(p)
    return model


@pytest.fixture
def images():
    return torch.randn(B, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def visible():
    torch.manual_seed(4)
    return complementary_masks(B, L, G)


def mae_encoder(model, ratio=0.75):
    vit = MAEViT(ARCH, img_size=32, patch_size=8, mask_ratio=ratio)
    vit.load_state_dict(model.backbone.state_dict())
    return vit


def with_given_mask(vit, visible):
    """mmpretrain's own encoder, its random draw replaced by a given one."""

    def random_masking(x, mask_ratio):
        shuffled = torch.stack(
            [
                torch.cat([v, torch.tensor([i for i in range(L) if i not in set(v.tolist())])])
                for v in visible
            ]
        )
        restore = shuffled.argsort(dim=1)
        kept = x.gather(1, visible[..., None].expand(-1, -1, x.shape[-1]))
        mask = torch.ones(len(x), L)
        mask[:, : visible.shape[1]] = 0
        return kept, mask.gather(1, restore), restore

    vit.random_masking = random_masking
    return vit


def test_masked_without_segments_is_maes_encoder(images, visible):
    model = build('masked')
    model.segment_embed.data.zero_()
    expected, _, _ = with_given_mask(mae_encoder(model), visible)(images)
    torch.testing.assert_close(model.encode(images, visible), expected, atol=1e-5, rtol=0)


def test_masked_without_segments_has_maes_loss_and_gradients(images, visible):
    model = build('masked', segment_embed=False)
    model.draw_visible = lambda inputs: visible
    mae: MAE = MODELS.build(dict(type='mmpretrain.MAE', **copy.deepcopy(PARTS)))
    mae.load_state_dict(model.state_dict())
    mae.backbone = with_given_mask(mae_encoder(model), visible)
    ours, theirs = model.loss(images, []), mae.loss(images, [])
    assert list(ours) == ['loss_recon']
    torch.testing.assert_close(ours['loss_recon'], theirs['loss'], atol=1e-5, rtol=1e-5)
    ours['loss_recon'].backward()
    theirs['loss'].backward()
    grads = dict(mae.named_parameters())
    for name, p in model.named_parameters():
        if p.requires_grad:
            torch.testing.assert_close(p.grad, grads[name].grad, atol=1e-5, rtol=1e-4)


def test_topk_of_all_tokens_is_global(images, visible):
    topk, everything = build('topk', topk=L + G), build('global')
    torch.testing.assert_close(
        topk.encode(images, visible), everything.encode(images, visible), atol=1e-5, rtol=1e-5
    )


def test_the_default_k_is_an_images_tokens(images, visible):
    assert torch.equal(
        build('topk').encode(images, visible),
        build('topk', topk=L // G + 1).encode(images, visible),
    )


def test_modes_differ(images, visible):
    outs = [build(mode).encode(images, visible) for mode in ('global', 'topk', 'masked')]
    for i in range(3):
        assert not torch.allclose(outs[i], outs[i - 1], atol=1e-3)


@pytest.mark.parametrize('mode', ['global', 'topk'])
def test_class_tokens_of_a_group_are_one_without_segments(images, visible, mode):
    cls = build(mode, segment_embed=False).encode(images, visible)[:, 0].reshape(B // G, G, D)
    torch.testing.assert_close(cls, cls[:, :1].expand(-1, G, -1), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(cls[0], cls[1], atol=1e-3)
    cls = build(mode).encode(images, visible)[:, 0].reshape(B // G, G, D)
    assert (cls[:, 0] - cls[:, 1]).abs().max() > 1e-3


def test_groups_do_not_see_each_other(images, visible):
    model = build('global')
    changed = images.clone()
    changed[G:] += 1
    a, b = model.encode(images, visible), model.encode(changed, visible)
    torch.testing.assert_close(a[:G], b[:G], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(a[G:], b[G:], atol=1e-2)


def test_hidden_patches_do_not_reach_the_encoder(images, visible):
    model = build('topk')
    hidden = torch.ones(B, L, dtype=torch.bool).scatter_(1, visible, False)
    noise = hidden.reshape(B, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3) * 9.0
    torch.testing.assert_close(
        model.encode(images, visible), model.encode(images + noise, visible), atol=1e-5, rtol=1e-5
    )


def test_losses_and_what_stands_beside_them(images):
    model = build(contrast=dict(CONTRAST, weight=0.3))
    losses = model.loss(images, [])
    assert set(losses) == {'loss_recon', 'loss_contrast', 'contrast', 'contrast_floor'}
    assert losses['loss_contrast'].item() == pytest.approx(0.3 * losses['contrast'].item())
    assert losses['contrast'] >= losses['contrast_floor']
    assert not losses['contrast'].requires_grad
    total, log = model.parse_losses(losses)
    assert total.item() == pytest.approx((losses['loss_recon'] + losses['loss_contrast']).item())


def test_contrast_sees_patches_in_order_of_images_without_class_tokens(images, visible):
    model = build(contrast=CONTRAST)
    model.draw_visible = lambda inputs: visible
    tokens = []
    model.contrast.register_forward_pre_hook(lambda module, args: tokens.append(args))
    model.loss(images, [])
    patches, groups = tokens[0]
    latent = model.encode(images, visible)
    expected = torch.stack(
        [torch.cat([latent[m * G + g, 1:] for g in range(G)]) for m in range(B // G)]
    )
    assert groups == G
    torch.testing.assert_close(patches, expected)


@pytest.mark.parametrize(
    'mode, options',
    [
        ('global', {}),
        ('topk', {}),
        ('masked', {}),
        ('topk', dict(contrast=dict(CONTRAST, subtract_segment=True))),
        ('topk', dict(contrast=dict(CONTRAST, layer=0))),
        ('topk', dict(segment_embed='decoder')),
        ('topk', dict(attention=dict(subtract_segment=True))),
    ],
)
def test_every_trained_parameter_gets_a_gradient(images, mode, options):
    """Distributed training would wait for one that does not."""
    model = build(mode, **dict(contrast=CONTRAST) | options)
    model.parse_losses(model.loss(images, []))[0].backward()
    without = [k for k, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without


# What the contrastive loss and TopK read.


def by_hand(model, images, visible):
    """The residual stream before and after every layer of 'global', (B/G, G*n, D), and its parts.

    mmpretrain's own layers on tokens that are laid out image by image; beside it the segment
    embedding of each token.
    """
    tokens, segments = [], []
    for b, (image, ids) in enumerate(zip(images, visible, strict=True)):
        patches = model.backbone.patch_embed(image[None])[0][0] + model.backbone.pos_embed[0, 1:]
        cls = model.backbone.cls_token[0] + model.backbone.pos_embed[0, :1]
        tokens.append(torch.cat([cls, patches[ids]]))
        segments.append(model.segment_embed[b % G].expand_as(tokens[-1]))
    tokens, segments = (
        torch.stack([torch.cat(x[m : m + G]) for m in range(0, B, G)]) for x in (tokens, segments)
    )
    streams = [tokens + segments]
    for layer in model.backbone.layers:
        streams.append(layer(streams[-1]))
    return streams, segments


def supcon(model, tokens):
    """An independent library's loss of the patch tokens of mixed samples."""
    tokens = tokens.reshape(B // G, G, L // G + 1, D)[:, :, 1:].reshape(B // G, L, D)
    labels = torch.arange(G).repeat_interleave(L // G)
    loss = SupConLoss(temperature=model.contrast.temperature)
    return torch.stack([loss(x, labels) for x in model.contrast.projector(tokens)]).mean()


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize('subtract', [False, True])
@pytest.mark.parametrize('layer', [None, 0, 1, 2])
def test_contrast_is_supcon_of_the_layer_asked_for(images, visible, layer, subtract):
    model = build('global', contrast=dict(CONTRAST, layer=layer, subtract_segment=subtract))
    model.segment_embed.data.normal_(std=0.5)
    model.draw_visible = lambda inputs: visible
    actual = model.loss(images, [])['loss_contrast'] / model.contrast.weight
    streams, segments = by_hand(model, images, visible)
    stream = streams[3 if layer is None else layer + 1]
    stream = stream - segments if subtract else stream
    expected = supcon(model, model.backbone.ln1(stream))
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    ours, theirs = gradients(model, actual), gradients(model, expected)
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=1e-4)


def without_updates(model):
    """Layers that add nothing: the residual stream stays what it was at the start."""
    for layer in model.backbone.layers:
        for linear in (layer.attn.proj, layer.ffn.layers[1]):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
    return model


@pytest.mark.parametrize('layer', [None, 1])
def test_subtracting_leaves_nothing_of_a_constant_per_image(images, visible, layer):
    contrast = dict(CONTRAST, layer=layer)
    losses = {}
    for subtract in (True, False):
        model = build(contrast=dict(contrast, subtract_segment=subtract))
        without_updates(model).draw_visible = lambda inputs: visible
        for scale in (0.0, 0.1, 3.0):
            segments = torch.randn(G, D, generator=torch.Generator().manual_seed(9))
            model.segment_embed.data = scale * segments
            losses[subtract, scale] = model.loss(images, [])['contrast'].item()
    assert losses[True, 3.0] == pytest.approx(losses[True, 0.0], abs=1e-4)
    assert losses[True, 0.1] == pytest.approx(losses[True, 0.0], abs=1e-4)
    assert losses[False, 0.0] == pytest.approx(losses[True, 0.0])
    # Otherwise the loss is read off the constant.
    assert losses[False, 3.0] < losses[True, 3.0] - 0.3


def test_subtracting_is_no_detour_for_the_segment_embedding(images, visible):
    """It has a gradient by what layers compute from it, and none by the term itself."""
    model = build(contrast=dict(CONTRAST, subtract_segment=True))
    model.draw_visible = lambda inputs: visible
    assert gradients(model, model.loss(images, [])['loss_contrast'])['segment_embed'].abs().max()
    without_updates(model)
    grads = gradients(model, model.loss(images, [])['loss_contrast'])
    assert grads['segment_embed'].abs().max() < 1e-6
    assert grads['backbone.patch_embed.projection.weight'].abs().max() > 1e-4


def test_the_loss_of_an_early_layer_does_not_reach_the_later_ones(images):
    model = build(contrast=dict(CONTRAST, layer=1))
    grads = gradients(model, model.loss(images, [])['loss_contrast'])
    reached = {k.split('.')[2] for k in grads if k.startswith('backbone.layers.')}
    assert reached == {'0', '1'}
    assert not any(k.startswith('neck') for k in grads)


@pytest.mark.parametrize('contrast', [None, CONTRAST, dict(CONTRAST, layer=1)])
def test_the_reconstruction_does_not_depend_on_what_is_compared(images, visible, contrast):
    model = build(contrast=contrast)
    model.draw_visible = lambda inputs: visible
    plain = build()
    plain.load_state_dict(model.state_dict(), strict=False)
    plain.draw_visible = model.draw_visible
    assert torch.equal(model.loss(images, [])['loss_recon'], plain.loss(images, [])['loss_recon'])


def test_the_last_layer_by_its_number_is_the_default(images, visible):
    losses = []
    for layer in (None, 2):
        model = build(contrast=dict(CONTRAST, layer=layer))
        model.draw_visible = lambda inputs: visible
        losses.append(model.loss(images, [])['contrast'])
    assert torch.equal(*losses)


def dense_topk(model, x, segments, K):
    """The encoder, where each query keeps the K largest logits of tokens less their segments."""
    heads, kept = 2, []
    for i, layer in enumerate(model.backbone.layers):
        if i == 0:
            x = layer(x)
            continue

        def qkv(tokens, layer=layer):
            out = nn.functional.linear(tokens, layer.attn.qkv.weight, layer.attn.qkv.bias)
            return [t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in out.chunk(3, dim=-1)]

        q, k, _ = qkv(layer.ln1(x - segments))
        keys = (q @ k.mT).topk(K, dim=-1).indices
        keep = torch.zeros(*q.shape[:3], q.shape[2], dtype=torch.bool).scatter(-1, keys, True)
        q, k, v = qkv(layer.ln1(x))
        logits = (q @ k.mT) / q.shape[-1] ** 0.5
        weights = logits.masked_fill(~keep, -torch.inf).softmax(dim=-1)
        x = x + layer.attn.proj((weights @ v).transpose(1, 2).flatten(2))
        x = layer.ffn(layer.ln2(x), identity=x)
        kept.append(keep)
    return model.backbone.ln1(x), kept


@pytest.mark.parametrize('fused', [True, False], ids=['fused', 'dense'])
@pytest.mark.parametrize('with_cp', [False, True], ids=['', 'recomputed'])
def test_topk_less_the_segment_embedding_is_the_dense_reference(images, visible, fused, with_cp):
    model = build('topk', attention=dict(subtract_segment=True, fused=fused))
    model.backbone.with_cp = with_cp
    model.segment_embed.data.normal_(std=0.5)
    streams, segments = by_hand(model, images, visible)
    expected, kept = dense_topk(model, streams[0], segments, L // G + 1)
    actual = model.encode(images, visible).reshape(B // G, L + G, D)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)
    weights = torch.linspace(-1, 1, actual.numel()).reshape(actual.shape)
    ours, theirs = (gradients(model, (x * weights).sum()) for x in (actual, expected))
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=1e-3)
    # It is another selection than that of the tokens as they are.
    plain = build('topk')
    plain.load_state_dict(model.state_dict())
    assert not torch.allclose(plain.encode(images, visible).reshape(actual.shape), actual)


def test_topk_less_the_segment_embedding_cannot_be_read_off_it(images, visible):
    """Where layers add nothing, the selection is the same whatever the segment embedding is."""
    for subtract in (True, False):
        model = build('topk', attention=dict(subtract_segment=subtract))
        without_updates(model).attention.watch = True
        accuracy = []
        for scale in (0.0, 0.1, 20.0):
            torch.manual_seed(5)
            model.segment_embed.data = scale * nn.init.orthogonal_(torch.empty(G, D))
            for layer in model.backbone.layers:  # queries look for keys that are like them
                layer.attn.qkv.weight.data[D : 2 * D] = layer.attn.qkv.weight.data[:D]
                layer.attn.qkv.bias.data.zero_()
            model.encode(images, visible)
            accuracy.append(model.attention.accuracy[1].item())
        if subtract:
            assert accuracy[1] == pytest.approx(accuracy[0])
            assert accuracy[2] == pytest.approx(accuracy[0], abs=0.02)  # rounding
        else:
            assert accuracy[2] > accuracy[0] + 0.2


# The segment embedding in the decoder alone.


def test_decoder_alone_sees_the_segment_embedding(images, visible):
    model = build(segment_embed='decoder', contrast=CONTRAST)
    model.segment_embed.data.normal_()
    model.draw_visible = lambda inputs: visible
    without = build(segment_embed=False, contrast=CONTRAST)
    without.load_state_dict({k: v for k, v in model.state_dict().items() if k != 'segment_embed'})
    without.draw_visible = model.draw_visible
    latent = model.encode(images, visible)
    assert torch.equal(latent, without.encode(images, visible))
    restore = masks_from_visible(visible, L)[1]
    for b in range(B):
        expected = model.neck(latent[b : b + 1] + model.segment_embed[b % G], restore[b : b + 1])
        actual = model.decode(latent, restore)[b : b + 1]
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    ours, theirs = model.loss(images, []), without.loss(images, [])
    assert torch.equal(ours['contrast'], theirs['contrast'])
    assert not torch.allclose(ours['loss_recon'], theirs['loss_recon'])
    assert gradients(model, ours['loss_recon'])['segment_embed'].abs().max() > 0


def test_decoder_alone_has_the_same_names_and_initial_weights():
    ours, theirs = build(segment_embed='decoder').state_dict(), build().state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


# What means nothing.


@pytest.mark.parametrize('segment_embed', [False, 'decoder'])
@pytest.mark.parametrize('part', ['attention', 'contrast'])
def test_nothing_to_subtract_is_said(segment_embed, part):
    on = dict(subtract_segment=True)
    parts = dict(attention=on) if part == 'attention' else dict(contrast=CONTRAST | on)
    with pytest.raises(ValueError, match=f'{part}.subtract_segment=True with segment_embed='):
        build(segment_embed=segment_embed, **parts)


def test_an_unknown_place_of_the_segment_embedding_names_the_places():
    with pytest.raises(ValueError, match="segment_embed='encoder' is unknown: True, 'decoder'"):
        build(segment_embed='encoder')


@pytest.mark.parametrize('layer', [3, -1])
def test_a_layer_that_there_is_not_is_named(layer):
    with pytest.raises(ValueError, match=rf'contrast.layer={layer}: there are layers 0..2'):
        build(contrast=dict(CONTRAST, layer=layer))


def test_only_the_encoder_lives_under_backbone():
    model = build(contrast=CONTRAST)
    names = {k.removeprefix('backbone.') for k in model.state_dict() if k.startswith('backbone.')}
    assert names == set(mae_encoder(model).state_dict())
    outside = {k.split('.')[0] for k in model.state_dict()} - {'backbone', 'neck'}
    assert outside == {'segment_embed', 'contrast'}


def test_two_steps_draw_two_assignments(images):
    model = build()
    assert not torch.equal(model.draw_visible(images), model.draw_visible(images))


def test_a_batch_that_the_group_does_not_divide_is_named(images):
    with pytest.raises(ValueError, match='batch of 6 images .* groups of 4'):
        build().loss(images[:6], [])


def test_patches_that_the_group_does_not_divide_are_named():
    with pytest.raises(ValueError, match='16 patches .* group of 3'):
        build(mix_ratio=1 / 3)


def test_wrong_mode_names_the_choices():
    with pytest.raises(ValueError, match="'homologous' is unknown.*global, topk, masked"):
        build('homologous')
