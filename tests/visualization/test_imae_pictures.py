"""i-MAE's pictures: what they show is what the model saw and predicted."""

import copy

import numpy as np
import pytest
import torch
from mmpretrain.models import SelfSupDataPreprocessor

from mixae.errors import ConfigError
from mixae.models.selfsup.imae import mix_pairs
from mixae.registry import MODELS
from mixae.visualization.imae_pictures import (
    COLUMNS,
    GREY,
    Painter,
    attention_weights,
    class_attention,
    comparison_grid,
    factor_grid,
    imae_row,
    mask_ratio_grid,
    matrix_weights,
    weights_and_attention,
)

L, D = 16, 24
MODEL = dict(
    type='mixae.IMAE',
    backbone=dict(
        type='mixae.MaskedViT',
        arch=dict(embed_dims=D, num_layers=2, num_heads=2, feedforward_channels=48),
        img_size=16,
        patch_size=4,
        mask_ratio=0.75,
    ),
    neck=dict(
        type='mmpretrain.MAEPretrainDecoder',
        num_patches=L,
        patch_size=4,
        embed_dim=D,
        decoder_embed_dim=16,
        decoder_depth=1,
        decoder_num_heads=2,
    ),
    head=dict(
        type='mmpretrain.MAEPretrainHead',
        norm_pix=True,
        patch_size=4,
        loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2'),
    ),
    mix=dict(beta=1.0),
    disentangle=dict(type='mixae.Disentanglement'),
    distill=None,
)


def build(**options):
    torch.manual_seed(0)
    model = MODELS.build({**copy.deepcopy(MODEL), **options})
    model.init_weights()
    return model.eval()


def build_mae():
    parts = copy.deepcopy({k: MODEL[k] for k in ('backbone', 'neck', 'head')})
    return MODELS.build(dict(type='mmpretrain.MAE', **parts)).eval()


@pytest.fixture
def preprocessor():
    return SelfSupDataPreprocessor(mean=[120.0, 115.0, 100.0], std=[60.0, 57.0, 55.0])


@pytest.fixture
def rgb():
    return np.random.default_rng(0).uniform(0, 255, (4, 3, 16, 16))


@pytest.fixture
def inputs(rgb, preprocessor):
    return (torch.from_numpy(rgb).float() - preprocessor.mean) / preprocessor.std


def test_images_and_visible_patches_keep_their_colours(rgb, inputs, preprocessor):
    painter = Painter(preprocessor, build().head, False)
    image = painter.image(inputs)
    np.testing.assert_allclose(image, rgb.transpose(0, 2, 3, 1) / 255, atol=1e-5)
    mask = torch.ones(4, L)
    mask[:, 6] = 0  # row 1, column 2 of the 4x4 grid
    seen = painter.visible(inputs, mask)
    np.testing.assert_allclose(seen[:, 4:8, 8:12], image[:, 4:8, 8:12], atol=1e-6)
    seen[:, 4:8, 8:12] = GREY
    np.testing.assert_allclose(seen, GREY)


@pytest.mark.parametrize('norm_pix', [True, False])
def test_a_perfect_prediction_is_the_original(inputs, preprocessor, norm_pix):
    head = build().head
    head.norm_pix = norm_pix
    target = head.construct_target(inputs)
    mask = torch.ones(4, L)
    mask[:, :4] = 0
    everywhere = Painter(preprocessor, head, True)
    original = everywhere.image(inputs)
    for cell, own in zip(
        everywhere.prediction(target, inputs, inputs, mask), original, strict=True
    ):
        np.testing.assert_allclose(cell.picture, own, atol=1e-4)
        assert not cell.framed
    seen = everywhere.image(inputs * 0)
    framed = Painter(preprocessor, head, False).prediction(target, inputs, inputs * 0, mask)
    for cell, own, unmixed in zip(framed, original, seen, strict=True):
        np.testing.assert_allclose(cell.picture[4:], own[4:], atol=1e-4)
        np.testing.assert_allclose(cell.picture[:4], unmixed[:4], atol=1e-6)  # what was seen
        assert cell.framed == [(0, 0), (0, 1), (0, 2), (0, 3)] and cell.patch == 4
    captions = everywhere.caption(), Painter(preprocessor, head, False).caption()
    assert ('statistics' in captions[1]) == norm_pix and 'White frames' not in captions[0]


def test_columns_hold_what_their_labels_say(inputs, preprocessor):
    model = build(loss_on='all')
    painter = Painter(preprocessor, model.head, True)
    row = imae_row(model, painter, inputs, 0.3, 0.75, seed=1)
    assert len(row) == 2 * len(COLUMNS)
    image = painter.image(inputs)
    mixture = painter.image(mix_pairs(inputs, torch.full((2,), 0.3)).images)
    for pair, (mixed, _, _, dominant, _, subordinate) in enumerate((row[:6], row[6:])):
        np.testing.assert_array_equal(mixed.picture, mixture[pair])
        np.testing.assert_array_equal(subordinate.picture, image[2 * pair])  # the first of a pair
        np.testing.assert_array_equal(dominant.picture, image[2 * pair + 1])


def test_shares_and_mask_ratios_out_of_range_are_refused(inputs, preprocessor):
    model = build()
    for factor in (1.7, 0.5, -0.1):
        with pytest.raises(ConfigError, match=str(factor)):
            mask_ratio_grid(model, preprocessor, inputs, factor=factor)
        with pytest.raises(ConfigError, match=str(factor)):
            comparison_grid(build_mae(), {'i-MAE': model}, preprocessor, inputs, factor)
    for ratio in (1.0, -0.2):
        with pytest.raises(ConfigError, match=f'mask_ratio={ratio}'):
            factor_grid(model, preprocessor, inputs, mask_ratio=ratio)


def test_a_comparison_says_which_rows_show_the_prediction_everywhere(inputs, preprocessor):
    for loss_on in ('masked', 'all'):
        rows = {'i-MAE': build(loss_on=loss_on)}
        figure = comparison_grid(build_mae(), rows, preprocessor, inputs)
        told = ' '.join(text.get_text() for text in figure.texts).replace('\n', ' ')
        assert ('trained on all patches' in told) is (loss_on == 'all')


def test_attention_is_the_one_that_the_layer_computes(inputs):
    encoder = build().backbone
    attn, x = encoder.layers[1].attn, torch.randn(4, L + 1, D)
    weights = attention_weights(attn, x)
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 2, L + 1))
    v = attn.qkv(x)[..., 2 * D :].unflatten(-1, (2, D // 2)).transpose(1, 2)
    mixed = attn.proj((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixed, attn(x), rtol=1e-4, atol=1e-5)

    seen = {}
    encoder.layers[1].attn.register_forward_pre_hook(lambda _, args: seen.update(x=args[0]))
    encoder.features(inputs)
    expected = attention_weights(attn, seen['x']).mean(1)[:, 0, 1:].reshape(4, 4, 4)
    found = class_attention(encoder, inputs)
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-5)
    first = class_attention(encoder, inputs, layer=0)
    assert first.shape == (4, 4, 4) and not np.allclose(found, first)


def test_weights_are_those_of_the_layers_matrices():
    encoder = build().backbone
    assert matrix_weights(encoder).size == 2 * (4 * D * D + 2 * 48 * D)


def test_every_figure_is_drawn(inputs, preprocessor, tmp_path):
    model, mae = build(), build_mae()
    alone = build(branches='subordinate')
    figures = dict(
        factors=factor_grid(model, preprocessor, inputs, factors=(0.1, 0.45)),
        ratios=mask_ratio_grid(alone, preprocessor, inputs),
        comparison=comparison_grid(mae, {'i-MAE': model, 'sub': alone}, preprocessor, inputs),
        weights=weights_and_attention(
            {'MAE': mae.backbone, 'i-MAE': model.backbone}, preprocessor, inputs[:2]
        ),
    )
    for name, figure in figures.items():
        figure.savefig(tmp_path / f'{name}.png', dpi=40)
        assert (tmp_path / f'{name}.png').stat().st_size > 1000
    pictures = [len(a.images) for a in figures['comparison'].axes]
    assert sum(pictures) == 4 * 4 * 2  # four models, four columns, two pairs
    texts = [t.get_text() for a in figures['ratios'].axes for t in a.texts]
    assert texts == ['mask 0.5', 'mask 0.6', 'mask 0.75\n(trained)']
