"""Images that are not square or not of three channels, against timm and the definitions."""

import copy

import numpy as np
import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.models import MAEPretrainHead
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer

from mixae.checkpoints.load import load_encoder
from mixae.derive import derive
from mixae.errors import ConfigError
from mixae.models import MAEDecoder, MAEHead, MaskedViT
from mixae.models.layers.pos_embed import sincos
from mixae.registry import MODELS
from mixae.visualization.reconstruction import draw_reconstruction, reconstruct
from tests.models.test_vit import scramble, to_timm

ARCH = dict(embed_dims=24, num_layers=3, num_heads=2, feedforward_channels=96)
LOSS = dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2')


def test_the_position_embedding_is_of_each_patchs_row_and_column():
    table = sincos((2, 3), 8)[0]
    omega = 1 / 10000 ** (np.arange(2) / 2)
    assert (table[0] == 0).all(), 'class token'
    for row in range(2):
        for column in range(3):
            expected = [f(at * omega) for at in (row, column) for f in (np.sin, np.cos)]
            np.testing.assert_allclose(
                table[1 + 3 * row + column], np.concatenate(expected), atol=1e-6
            )


def test_the_same_embedding_comes_out_of_encoder_and_decoder():
    vit = MaskedViT(ARCH, img_size=(16, 40), patch_size=8)
    vit.init_weights()
    decoder = MAEDecoder(
        grid=(2, 5), num_patches=10, patch_size=8, embed_dim=24, decoder_embed_dim=24
    )
    decoder.init_weights()
    assert torch.equal(vit.pos_embed, sincos((2, 5), 24))
    assert torch.equal(decoder.decoder_pos_embed, vit.pos_embed)


@pytest.mark.parametrize('channels', [1, 2, 13])
def test_features_of_any_grid_and_channels_are_timms(channels):
    vit = scramble(MaskedViT(ARCH, img_size=(16, 40), patch_size=8, in_chans=channels))
    theirs = VisionTransformer(
        img_size=(16, 40), patch_size=8, in_chans=channels, embed_dim=24, depth=3, num_heads=2,
        num_classes=0, global_pool='', dynamic_img_size=True,
    ).eval()  # fmt: skip
    theirs.load_state_dict(to_timm(vit.state_dict()))
    for size in ((16, 40), (24, 32)):
        x = torch.randn(2, channels, *size)
        with torch.no_grad():
            torch.testing.assert_close(
                vit.features(x)[-1], theirs.forward_features(x), atol=1e-5, rtol=0
            )


@pytest.mark.parametrize(
    'arch, patch_size, reference',
    [
        ('h', 14, 'vit_huge_patch14_224'),
        ('s', 8, 'vit_small_patch8_224'),
        ('b', 8, 'vit_base_patch8_224'),
        ('l', 14, 'vit_large_patch14_224'),
        ('b', 32, 'vit_base_patch32_224'),
    ],
)
def test_patches_of_other_sizes_are_the_fields(arch, patch_size, reference):
    with torch.device('meta'):
        theirs = timm.create_model(reference, num_classes=0)
        ours = MaskedViT(arch, patch_size=patch_size)
    shapes = {k: v.shape for k, v in to_timm(ours.state_dict()).items()}
    assert shapes == {k: v.shape for k, v in theirs.state_dict().items() if 'pre_logits' not in k}
    assert ours.layers[0].attn.num_heads == theirs.blocks[0].attn.num_heads


def test_patches_are_cut_row_by_row_and_put_back():
    head = MAEHead(grid=(2, 3), loss=LOSS, patch_size=4, in_channels=5)
    images = torch.randn(2, 5, 8, 12)
    patches = head.patchify(images)
    for row in range(2):
        for column in range(3):
            cut = images[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            assert torch.equal(patches[:, 3 * row + column], cut.permute(0, 2, 3, 1).flatten(1))
    assert torch.equal(head.unpatchify(patches), images)
    square, theirs = MAEHead(grid=(3, 3), loss=LOSS, patch_size=4), MAEPretrainHead(LOSS, False, 4)
    images = torch.randn(2, 3, 12, 12)
    assert torch.equal(square.patchify(images), theirs.patchify(images))


def config(method: str, **backbone) -> Config:
    cfg = Config.fromfile(f'configs/{method}/vitmini_digits_{6 if method == "imae" else 12}e.py')
    cfg.model.backbone.update(
        dict(arch=ARCH, img_size=(32, 64), patch_size=8, in_chans=4) | backbone
    )
    cfg.model.neck.update(decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2)
    channels = cfg.model.backbone.in_chans
    cfg.model.data_preprocessor.update(mean=[100.0] * channels, std=[50.0] * channels)
    if method == 'imae':
        cfg.model.distill = None
    return cfg


@pytest.mark.parametrize('channels', [1, 4, 13])
@pytest.mark.parametrize('method', ['mae', 'mixedae', 'imae'])
def test_every_method_trains_on_any_grid_and_channels(method, channels, tmp_path):
    cfg, _ = derive(config(method, in_chans=channels), cuda=False)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    images = torch.randint(0, 256, (8, channels, 32, 64), dtype=torch.uint8)
    batch = model.data_preprocessor(dict(inputs=images, data_samples=None), True)
    torch.testing.assert_close(batch['inputs'], (images.float() - 100) / 50)
    losses = model.loss(batch['inputs'], None)
    total = sum(value for name, value in losses.items() if name.startswith('loss'))
    assert 0.3 < total < 30
    total.backward()
    assert model.backbone.patch_embed.projection.weight.grad.abs().sum() > 0
    assert model.neck.decoder_pred.weight.shape == (64 * channels, 16)
    if method != 'imae':
        r = reconstruct(model, images)
        assert r.grid == (4, 8) and r.predictions.shape == r.originals.shape == (8, 3, 32, 64)
        assert torch.equal(r.pasted == r.originals, ~(r.pasted != r.originals))
        assert draw_reconstruction(r, tmp_path / 'a.png').stat().st_size > 1000


def saved(vit, path, **backbone):
    account = dict(backbone=dict(arch='x', **backbone)) if backbone else {}
    state = {f'backbone.{k}': v for k, v in vit.state_dict().items()}
    torch.save(dict(state_dict=state, mixae=account), path)
    return path


def test_a_checkpoint_of_another_grid_is_resampled_from_its_own(tmp_path):
    trained = scramble(MaskedViT(ARCH, img_size=(32, 72), patch_size=8))  # 36 patches, as 6x6
    path = saved(trained, tmp_path / 'a.pth', img_size='32x72', patch_size=8)
    for size, grid in ((48, [6, 6]), ((16, 32), [2, 4]), ((32, 72), [4, 9])):
        other = MaskedViT(ARCH, img_size=size, patch_size=8)
        load_encoder(other, path)
        expected = resample_abs_pos_embed(
            trained.pos_embed, new_size=grid, old_size=[4, 9], num_prefix_tokens=1
        )
        torch.testing.assert_close(other.pos_embed, expected, atol=1e-6, rtol=0)


def test_fine_tuning_at_384_pixels_resamples_the_position_embedding(tmp_path):
    trained = scramble(MaskedViT(ARCH, img_size=224, patch_size=16))
    path = saved(trained, tmp_path / 'a.pth')
    vit = MaskedViT(
        ARCH, img_size=384, patch_size=16, out_type='avg_featmap', final_norm=False,
        train_pos_embed=True,
    )  # fmt: skip
    load_encoder(vit, path)
    expected = resample_abs_pos_embed(trained.pos_embed, new_size=[24, 24], num_prefix_tokens=1)
    torch.testing.assert_close(vit.pos_embed, expected, atol=1e-6, rtol=0)
    vit(torch.randn(1, 3, 384, 384))[-1].sum().backward()
    assert vit.pos_embed.grad.abs().sum() > 0


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(img_size=(30, 64)), r'img_size=\(30, 64\) is not a multiple of patch_size=8'),
        (dict(img_size=60), 'img_size=60 is not a multiple of patch_size=8'),
        (dict(patch_size=(8, 16)), r'patch_size=\(8, 16\): MAE predicts square patches'),
        (dict(in_chans=0), 'in_chans=0: expected a whole number from 1'),
        (dict(in_chans=3, means=4), 'mean has 4 values, but model.backbone.in_chans=3'),
        (dict(in_chans=13), 'Pillow resizes images of 1, 3 or 4 channels, not of 13: set backend='),
    ],
)
def test_what_cannot_work_is_named(change, message):
    change = dict(change)
    means = change.pop('means', None)
    cfg = config('mae', **change)
    if means:
        cfg.model.data_preprocessor.mean = [1.0] * means
    if change.get('in_chans') == 13:
        cfg.train_dataloader.dataset.dataset.pipeline[0].backend = 'pillow'
    with pytest.raises(ConfigError, match=message) as error:
        derive(copy.deepcopy(cfg), cuda=False)
    assert '\n' not in str(error.value)
