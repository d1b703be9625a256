"""i-MAE's pictures: what they show is what the model saw and predicted."""

import copy

import numpy as np
import pytest
import torch
from mmpretrain.models import SelfSupDataPreprocessor

from mixae.errors import ConfigError
from mixae.models.layers import mix_pairs
from mixae.registry import MODELS
from mixae.visualization.imae_pictures import (
    FIGURES,
    Painter,
    Subject,
    comparison,
    factors,
    imae_grid,
    mask_ratios,
)
from mixae.visualization.pixels import GREY, to_rgb
from tests.models.parts import mae_parts

L, D = 16, 24
ARCH = dict(embed_dims=D, num_layers=2, num_heads=2, feedforward_channels=48)
PARTS = mae_parts(ARCH, img_size=16, patch_size=4, mask_ratio=0.75)
MODEL = dict(
    type='mixae.IMAE',
    **PARTS,
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
    return MODELS.build(dict(type='mmpretrain.MAE', **copy.deepcopy(PARTS))).eval()


@pytest.fixture
def preprocessor():
    return SelfSupDataPreprocessor(mean=[120.0, 115.0, 100.0], std=[60.0, 57.0, 55.0])


@pytest.fixture
def rgb():
    return np.random.default_rng(0).uniform(0, 255, (4, 3, 16, 16))


@pytest.fixture
def inputs(rgb, preprocessor):
    return (torch.from_numpy(rgb).float() - preprocessor.mean) / preprocessor.std


@pytest.fixture
def subject(inputs, preprocessor):
    return Subject(build(), preprocessor, inputs, mae=build_mae())


def pictures(figure):
    """What is drawn, row by row, with empty places left out."""
    return [np.asarray(axis.images[0].get_array()) for axis in figure.axes if axis.images]


def test_images_and_visible_patches_keep_their_colours(rgb, inputs, preprocessor):
    painter = Painter(preprocessor, build())
    image = np.stack([cell.picture for cell in painter.images(inputs)])
    np.testing.assert_allclose(image, rgb.transpose(0, 2, 3, 1) / 255, atol=1e-5)
    mask = torch.ones(4, L)
    mask[:, 6] = 0  # row 1, column 2 of the 4x4 grid
    seen = np.stack([cell.picture for cell in painter.visible(inputs, mask)])
    np.testing.assert_allclose(seen[:, 4:8, 8:12], image[:, 4:8, 8:12], atol=1e-6)
    seen[:, 4:8, 8:12] = GREY
    np.testing.assert_allclose(seen, GREY)


@pytest.mark.parametrize('norm_pix', [True, False])
def test_a_perfect_prediction_is_the_original(inputs, preprocessor, norm_pix):
    everywhere, framed = (
        Painter(preprocessor, build(loss_on=loss_on)) for loss_on in ('all', 'masked')
    )
    for painter in (everywhere, framed):
        painter.head.norm_pix = norm_pix
    target = framed.head.construct_target(inputs)
    mask = torch.ones(4, L)
    mask[:, :4] = 0
    original, seen = (
        to_rgb(images, preprocessor).permute(0, 2, 3, 1) for images in (inputs, inputs * 0)
    )
    cells = everywhere.prediction(target, inputs, inputs, mask)
    for cell, own in zip(cells, original, strict=True):
        np.testing.assert_allclose(cell.picture, own, atol=1e-4)
        assert not cell.framed
    cells = framed.prediction(target, inputs, inputs * 0, mask)
    for cell, own, unmixed in zip(cells, original, seen, strict=True):
        np.testing.assert_allclose(cell.picture[4:], own[4:], atol=1e-4)
        np.testing.assert_allclose(cell.picture[:4], unmixed[:4], atol=1e-6)  # what was seen
        assert cell.framed == [(0, 0), (0, 1), (0, 2), (0, 3)] and cell.patch == 4
    captions = everywhere.caption(), framed.caption()
    assert ('normalised' in captions[1]) == norm_pix and 'White frames' not in captions[0]


def test_columns_hold_what_their_labels_say(subject):
    drawn = pictures(imae_grid(subject, {'a row': (0.3, 0.75)}, 'title'))
    inputs = subject.inputs
    mixed = mix_pairs(inputs, torch.full((2,), 0.3)).images
    image, mixture = (to_rgb(x, subject.preprocessor).permute(0, 2, 3, 1) for x in (inputs, mixed))
    for pair, (shown, _, _, dominant, _, subordinate) in enumerate((drawn[:6], drawn[6:])):
        np.testing.assert_array_equal(shown, mixture[pair])
        np.testing.assert_array_equal(subordinate, image[2 * pair])  # the first of a pair
        np.testing.assert_array_equal(dominant, image[2 * pair + 1])


def test_shares_and_mask_ratios_out_of_range_are_refused(subject):
    for factor in (1.7, 0.5, -0.1):
        subject.factor = factor
        for draw in (mask_ratios, comparison):
            with pytest.raises(ConfigError, match=str(factor)):
                draw(subject)
    for ratio in (1.0, -0.2):
        subject.mask_ratio = ratio
        with pytest.raises(ConfigError, match=f'mask_ratio={ratio}'):
            factors(subject)


@pytest.mark.parametrize('loss_on', ['masked', 'all'])
def test_a_comparison_says_which_rows_show_the_prediction_everywhere(subject, loss_on):
    subject.model = build(loss_on=loss_on)
    told = ' '.join(text.get_text() for text in comparison(subject).texts).replace('\n', ' ')
    assert ('trained on all patches' in told) is (loss_on == 'all')


def test_every_figure_is_drawn(subject, tmp_path):
    subject.no_distill = build(branches='subordinate')
    figures = {name: draw(subject) for name, draw in FIGURES.items()}
    for name, figure in figures.items():
        figure.savefig(tmp_path / f'{name}.png', dpi=40)
        assert (tmp_path / f'{name}.png').stat().st_size > 1000
    assert len(pictures(figures['factors'])) == 8 * 6 * 2  # factors, columns, pairs
    assert len(pictures(figures['comparison'])) == 4 * 4 * 2  # models, columns, pairs
    texts = [t.get_text() for a in figures['mask-ratios'].axes for t in a.texts]
    assert texts == ['mask 0.5', 'mask 0.6', 'mask 0.75\n(trained)']


def test_a_branch_that_is_not_trained_stays_empty(subject):
    subject.model = build(branches='subordinate')
    assert len(pictures(mask_ratios(subject))) == 3 * 5 * 2
