"""`mixae.load_encoder`: the features of timm's ViT, of images as they are."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import mixae
from mixae.checkpoints.key_mappings import TIMM_VIT
from mixae.errors import CheckpointError, ConfigError

SIZE = dict(img_size=32, patch_size=8, embed_dim=96, depth=2, num_heads=3, num_classes=0)
MEAN, STD = [100.0, 110.0, 120.0], [50.0, 60.0, 70.0]


@pytest.fixture(scope='module')
def vit():
    torch.manual_seed(0)
    vit = timm.create_model('vit_base_patch16_224', **SIZE).eval()
    torch.nn.init.normal_(vit.cls_token)
    return vit


@pytest.fixture
def images():
    return torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)


def ours(vit, path, **preprocessor):
    """A checkpoint as our pre-training leaves it, with its config's text."""
    arch = 'dict(embed_dims=96, num_heads=3, num_layers=2, feedforward_channels=384)'
    text = f'model = dict(backbone=dict(arch={arch}), data_preprocessor=dict(**x, mean=%r, std=%r))'
    text = text.replace('**x, ', '') % (MEAN, STD)
    text += '\nimport os\nos.abort()\n'  # never run
    state, unknown = TIMM_VIT.to_ours(vit.state_dict())
    assert not unknown
    state = {f'backbone.{key}': value for key, value in state.items()}
    torch.save(dict(state_dict=state, meta=dict(cfg=text)), path)
    return path


def expected(vit, images, mean, std):
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    with torch.no_grad():
        return vit.forward_features((images - mean) / std)


def test_of_our_checkpoint(vit, images, tmp_path):
    encoder = mixae.load_encoder(ours(vit, tmp_path / 'a.pth'))
    tokens = expected(vit, images, MEAN, STD)
    torch.testing.assert_close(encoder.features(images), tokens[:, 1:].mean(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.features(images, 'cls'), tokens[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.features(images, None), tokens, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        encoder.features(images / 255), encoder.features(images), atol=1e-4, rtol=0
    )
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_of_timms_weights_with_imagenets_normalisation(vit, images, tmp_path):
    path = tmp_path / 'a.safetensors'
    save_file(vit.state_dict(), path)
    with pytest.raises(ConfigError, match='num_heads'):
        mixae.load_encoder(path)
    encoder = mixae.load_encoder(path, num_heads=3)
    tokens = expected(vit, images / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    torch.testing.assert_close(encoder.features(images), tokens[:, 1:].mean(1), atol=1e-5, rtol=0)


def test_pil_images_are_cropped_at_the_centre(vit, tmp_path):
    encoder = mixae.load_encoder(ours(vit, tmp_path / 'a.pth'))
    pixels = np.random.default_rng(0).integers(0, 256, (37, 37, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    middle = torch.from_numpy(pixels[2:34, 2:34].copy()).permute(2, 0, 1)[None]
    torch.testing.assert_close(encoder.features(image), encoder.features(middle))


@pytest.mark.parametrize(
    'images, words',
    [
        (torch.randn(1, 3, 32, 32), 'not normalised'),
        (torch.zeros(1, 3, 32, 32, dtype=torch.int64), 'uint8'),
        (torch.zeros(3, 32, 32), 'expected .B, 3, H, W'),
    ],
)
def test_images_of_another_form_are_refused(vit, tmp_path, images, words):
    encoder = mixae.load_encoder(ours(vit, tmp_path / 'a.pth'))
    with pytest.raises(ConfigError, match=words):
        encoder.features(images)


def test_weights_that_are_no_vit(tmp_path):
    torch.save({'backbone.conv.weight': torch.ones(3, 3)}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='no ViT'):
        mixae.load_encoder(tmp_path / 'a.pth')


def test_an_unknown_name_of_the_package():
    with pytest.raises(AttributeError, match='load_encoders'):
        mixae.load_encoders  # noqa: B018
