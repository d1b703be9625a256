"""Pictures of reconstructions show what the model saw, and predictions on the right scale."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mixae.errors import CheckpointError, ConfigError, MixaeError
from mixae.registry import MODELS
from mixae.visualization.loading import (
    images_of_dataset,
    images_of_files,
    load_pretrained_model,
)
from mixae.visualization.pixels import GREY, undo_normalisation
from mixae.visualization.reconstruction import draw_reconstruction, reconstruct
from tests.models.parts import mae_parts

SIZE, PATCH, GROUPS = 16, 4, 4


def model_config(mixed: bool, norm_pix: bool = True) -> dict:
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    parts = mae_parts(arch, SIZE, PATCH, mask_ratio=None if mixed else 0.75)
    parts['head']['norm_pix'] = norm_pix
    return dict(
        type='mixae.MixedAE' if mixed else 'mmpretrain.MAE',
        data_preprocessor=dict(
            type='mmpretrain.SelfSupDataPreprocessor', mean=[124, 116, 104], std=[58, 57, 56]
        ),
        **parts,
        **(dict(mix_ratio=1 / GROUPS) if mixed else {}),
    )


def build(mixed: bool, norm_pix: bool = True, **options):
    torch.manual_seed(0)
    cfg = model_config(mixed, norm_pix) | options
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(cfg)


def some_images(count: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)


def pixels(mask_BL: torch.Tensor) -> torch.Tensor:
    """A mask of patches as a mask of pixels, (B, 1, H, W), by NumPy's Kronecker product."""
    side = SIZE // PATCH
    grids = mask_BL.numpy().reshape(-1, side, side)
    return torch.from_numpy(np.stack([np.kron(g, np.ones((PATCH, PATCH))) for g in grids])[:, None])


@pytest.mark.parametrize('mixed', [False, True])
def test_visible_patches_are_the_originals(mixed):
    images = some_images()
    r = reconstruct(build(mixed), images)
    masked = pixels(r.mask_BL).bool().expand_as(r.originals)
    assert torch.equal(r.originals, images.float() / 255)
    assert torch.equal(r.pasted[~masked], r.originals[~masked])
    assert torch.equal(r.pasted[masked], r.predictions[masked])
    assert torch.equal(r.masked[~masked], r.originals[~masked])
    assert (r.masked[masked] == GREY).all()
    assert r.mask_BL.sum(dim=1).tolist() == [12] * 8


def test_a_mixed_sample_shows_each_patch_of_its_owner():
    r = reconstruct(build(mixed=True), some_images())
    assert r.mixed.shape == (2, 3, SIZE, SIZE)
    side = SIZE // PATCH
    for m in range(2):
        assert torch.bincount(r.owner_ML[m]).tolist() == [4] * GROUPS
        for index, owner in enumerate(r.owner_ML[m].tolist()):
            y, x = (PATCH * i for i in divmod(index, side))
            place = (slice(None), slice(y, y + PATCH), slice(x, x + PATCH))
            image = GROUPS * m + owner
            assert torch.equal(r.mixed[m][place], r.originals[image][place])
            assert r.mask_BL[image, index] == 0


@pytest.mark.parametrize('norm_pix', [True, False])
def test_normalisation_is_undone_exactly(norm_pix):
    head = build(False, norm_pix).head
    images = some_images().float() / 60 - 2
    target_BLp = head.construct_target(images)
    torch.testing.assert_close(
        head.unpatchify(undo_normalisation(head, target_BLp, images)), images, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize('norm_pix', [True, False])
@pytest.mark.parametrize('mixed', [False, True])
def test_a_decoder_that_predicts_the_target_gives_the_original(mixed, norm_pix, monkeypatch):
    model, images = build(mixed, norm_pix), some_images()
    preprocessor = model.data_preprocessor
    target_BLp = model.head.construct_target((images - preprocessor.mean) / preprocessor.std)
    monkeypatch.setattr(model.neck, 'forward', lambda latent, restore: target_BLp)
    r = reconstruct(model, images)
    torch.testing.assert_close(r.predictions, r.originals, atol=1e-5, rtol=0)
    assert ("original patches' mean" in r.caption) == norm_pix


def test_the_decoder_is_given_its_segment_embedding():
    predictions = []
    for value in (0.0, 1.0):
        model = build(mixed=True, segment_embed='decoder')
        model.segment_embed.data.fill_(value)
        predictions.append(reconstruct(model, some_images()).predictions)
    assert not torch.allclose(*predictions)


def test_masks_follow_the_seed_and_leave_the_generator_alone():
    model = build(mixed=True)
    state = torch.get_rng_state()
    first, again, other = (reconstruct(model, some_images(), seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.predictions, again.predictions)
    assert not torch.equal(first.mask_BL, other.mask_BL)


def test_images_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r'takes \(B, 3, 16, 16\)'):
        reconstruct(build(False), torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match='num_images=6: expected a multiple of 4'):
        reconstruct(build(True), some_images(6))


@pytest.mark.parametrize('mixed', [False, True])
def test_the_picture_shows_originals_and_masks(mixed, tmp_path):
    images = torch.zeros(4, 3, SIZE, SIZE, dtype=torch.uint8)
    images[:, 0] = torch.tensor([255, 200, 150, 100], dtype=torch.uint8)[:, None, None]
    path = draw_reconstruction(reconstruct(build(mixed), images), tmp_path / 'new' / 'a.png', 'T')
    shown = np.asarray(Image.open(path).convert('RGB'))
    for red in (255, 200, 150, 100):
        # At the least the original, a cell of more than a hundred pixels a side.
        assert (shown == [red, 0, 0]).all(axis=-1).sum() > 100 * 100
    assert (abs(shown.astype(int) - round(255 * GREY)) <= 1).all(axis=-1).sum() > 100 * 100


# ---- configs, checkpoints and files -----------------------------------------------------------


MIXTURE = dict(mix=dict(beta=1.0), disentangle=None, distill=None)


def test_a_checkpoint_is_loaded_whole_or_refused(tmp_path):
    model = build(mixed=True)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'mixedae.pth')
    loaded = load_pretrained_model(Config(dict(model=model_config(True))), tmp_path / 'mixedae.pth')
    images = some_images()
    assert torch.equal(reconstruct(loaded, images).pasted, reconstruct(model, images).pasted)
    with pytest.raises(CheckpointError, match='segment_embed'):
        load_pretrained_model(Config(dict(model=model_config(False))), tmp_path / 'mixedae.pth')
    with pytest.raises(ConfigError, match='IMAE'):
        load_pretrained_model(
            Config(dict(model={**model_config(False), 'type': 'mixae.IMAE', **MIXTURE})),
            tmp_path / 'mixedae.pth',
        )


def test_files_are_cropped_in_the_middle_and_stay_rgb(tmp_path):
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[:, 20:40, 0] = 250  # the middle square is red, the rest black
    Image.fromarray(wide).save(tmp_path / 'wide.png')
    cfg = Config(dict(model=model_config(False)))
    images = images_of_files(cfg, [tmp_path / 'wide.png'])
    assert images.shape == (1, 3, SIZE, SIZE) and images.dtype == torch.uint8
    assert (images[0, :, 2:-2, 2:-2].float().mean(dim=(1, 2)) == torch.tensor([250.0, 0, 0])).all()
    with pytest.raises(MixaeError, match='missing.png'):
        images_of_files(cfg, [tmp_path / 'missing.png'])
    (tmp_path / 'text.png').write_text('no image')
    with pytest.raises(MixaeError, match='text.png'):
        images_of_files(cfg, [tmp_path / 'text.png'])


def test_images_of_a_data_set_come_without_augmentation(tmp_path):
    for c in 'ab':
        (tmp_path / c).mkdir()
        for i in range(3):
            colour = np.full((SIZE, SIZE, 3), (100 * (c == 'b'), 40 * i, 7), dtype=np.uint8)
            Image.fromarray(colour).save(tmp_path / c / f'{i}.png')
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='ColorJitter', brightness=0.9),
        dict(type='PackInputs'),
    ]
    dataset = dict(type='CustomDataset', data_root=str(tmp_path), pipeline=pipeline)
    cfg = Config(
        dict(
            default_scope='mmpretrain',
            model=model_config(False),
            train_dataloader=dict(dataset=dict(type='mixae.SeededDataset', dataset=dataset)),
        )
    )
    images = images_of_dataset(cfg, 6)
    assert images[:, :, 0, 0].tolist() == [[100 * b, 40 * i, 7] for b in range(2) for i in range(3)]
    with pytest.raises(MixaeError, match='7 of a data set of 6'):
        images_of_dataset(cfg, 7)
