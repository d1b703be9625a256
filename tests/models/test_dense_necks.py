"""ViTDet's simple feature pyramid."""

import pytest
import torch
from torch import nn

from mixae.models import SimpleFeaturePyramid


def layer_norm(x, weight, bias):
    """Over channels, written out."""
    x = x - x.mean(1, keepdim=True)
    x = x / (x.square().mean(1, keepdim=True) + 1e-6).sqrt()
    return x * weight[:, None, None] + bias[:, None, None]


def test_the_levels_are_vitdets():
    pyramid = SimpleFeaturePyramid(8, 6).eval()
    torch.manual_seed(0)
    for p in pyramid.parameters():
        p.data += 0.3 * torch.randn(p.shape)
    x = torch.randn(2, 8, 4, 6)
    p = dict(pyramid.named_parameters())

    def deconv(x, name):  # kernel 2, stride 2: each pixel becomes a 2x2 block of its own
        blocks = torch.einsum('bihw,iokl->bohkwl', x, p[f'{name}.weight'])
        return blocks.flatten(4).flatten(2, 3) + p[f'{name}.bias'][:, None, None]

    def output(x, level, first):
        w = p[f'levels.{level}.{first}.conv.weight'][:, :, 0, 0]
        x = torch.einsum('bihw,oi->bohw', x, w)
        x = layer_norm(
            x, p[f'levels.{level}.{first}.ln.weight'], p[f'levels.{level}.{first}.ln.bias']
        )
        second = f'levels.{level}.{first + 1}'
        x = nn.functional.conv2d(x, p[f'{second}.conv.weight'], padding=1)
        return layer_norm(x, p[f'{second}.ln.weight'], p[f'{second}.ln.bias'])

    fine = layer_norm(deconv(x, 'levels.0.0'), p['levels.0.1.weight'], p['levels.0.1.bias'])
    fine = deconv(nn.functional.gelu(fine), 'levels.0.3')
    coarse = x.unflatten(3, (3, 2)).unflatten(2, (2, 2)).amax((3, 5))
    expected = [
        output(fine, 0, 4),
        output(deconv(x, 'levels.1.0'), 1, 1),
        output(x, 2, 0),
        output(coarse, 3, 1),
    ]
    outs = pyramid([torch.zeros(1), x])
    assert len(outs) == 5
    for mine, reference in zip(outs, expected, strict=False):
        torch.testing.assert_close(mine, reference, atol=1e-5, rtol=1e-5)
    assert torch.equal(outs[4], outs[3][:, :, ::2, ::2])


def test_its_size_is_vitdets():
    # Counted by hand from the paper's layers for ViT-B: deconvolutions, norms, and per level a 1x1
    # and a 3x3 convolution without bias, with their norms.
    deconvs = (768 * 384 * 4 + 384) + 2 * 384 + (384 * 192 * 4 + 192) + (768 * 384 * 4 + 384)
    outputs = sum(width * 256 + 256 * 256 * 9 + 2 * 2 * 256 for width in (192, 384, 768, 768))
    parameters = sum(p.numel() for p in SimpleFeaturePyramid(768).parameters())
    assert parameters == deconvs + outputs


@pytest.mark.parametrize('others', [0, 1, 3])
def test_the_last_map_is_used_however_many_there_are(others):
    pyramid, x = SimpleFeaturePyramid(8, 6), torch.randn(2, 8, 4, 6)
    outs = pyramid([*torch.randn(others, 2, 8, 4, 6), x])
    for mine, level in zip(outs, pyramid.levels, strict=False):
        assert torch.equal(mine, level(x))


def test_every_norm_is_the_configured_one():
    pyramid = SimpleFeaturePyramid(8, 6, norm_cfg=dict(type='BN', eps=0.1))
    # One between the deconvolutions, one for each of two convolutions on four levels.
    norms = [m for m in pyramid.modules() if 'norm' in type(m).__name__.lower()]
    assert [type(m) for m in norms] == [nn.BatchNorm2d] * 9
    assert all(m.eps == 0.1 for m in norms)


@pytest.mark.parametrize(
    'wrong, words',
    [
        (dict(scales=(4, 3)), 'got 3'),
        (dict(num_outs=3), 'less than the 4 scales'),
        (dict(in_channels=10), 'multiple of 4'),
    ],
)
def test_what_cannot_be_built_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        SimpleFeaturePyramid(**{**dict(in_channels=8), **wrong})
