"""MixedAE: it contains MAE, and adds what the paper adds."""

import copy

import pytest
import torch
from mmpretrain.models import MAE, MAEViT

from mixae.models import MixedAE
from mixae.models.layers.mixing import complementary_masks
from mixae.registry import MODELS

L, D, G, B = 16, 24, 4, 8
ARCH = dict(embed_dims=D, num_layers=3, num_heads=2, feedforward_channels=48)
PARTS = dict(
    backbone=dict(type='mixae.MaskedViT', arch=ARCH, img_size=32, patch_size=8),
    neck=dict(
        type='mmpretrain.MAEPretrainDecoder',
        num_patches=L,
        patch_size=8,
        embed_dim=D,
        decoder_embed_dim=16,
        decoder_depth=1,
        decoder_num_heads=2,
    ),
    head=dict(
        type='mmpretrain.MAEPretrainHead',
        norm_pix=True,
        patch_size=8,
        loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2'),
    ),
)
CONTRAST = dict(type='mixae.HomologousContrastiveLoss', in_dim=D, proj_dim=8)


def build(mode='topk', topk='auto', contrast=None, seed=0, **options) -> MixedAE:
    torch.manual_seed(seed)
    model = MODELS.build(
        dict(
            type='mixae.MixedAE',
            **copy.deepcopy(PARTS),
            attention=dict(mode=mode, topk=topk),
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


@pytest.mark.parametrize('mode', ['global', 'topk', 'masked'])
def test_every_trained_parameter_gets_a_gradient(images, mode):
    """Distributed training would wait for one that does not."""
    model = build(mode, contrast=CONTRAST)
    model.parse_losses(model.loss(images, []))[0].backward()
    without = [k for k, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without


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
