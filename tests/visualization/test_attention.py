"""Attention maps and weights are those of the encoder."""

import numpy as np
import pytest
import torch

from mixae.models import MaskedViT
from mixae.visualization.attention import attention_maps, matrix_weights

L, D = 16, 24


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    arch = dict(embed_dims=D, num_layers=2, num_heads=2, feedforward_channels=48)
    vit = MaskedViT(arch, img_size=16, patch_size=4)
    vit.init_weights()
    return vit.eval()


def attention_weights(attn, x_BND):
    """softmax(q k^T / sqrt(D/H)) of mmpretrain's ``MultiheadAttention``, (B, H, N, N)."""
    B, N, _ = x_BND.shape
    qkv = attn.qkv(x_BND).reshape(B, N, 3, attn.num_heads, attn.head_dims)
    q_BHNd, k_BHNd, _ = qkv.permute(2, 0, 3, 1, 4)
    return (q_BHNd @ k_BHNd.transpose(-1, -2) / attn.head_dims**0.5).softmax(dim=-1)


def test_attention_is_the_one_that_the_layer_computes(encoder):
    inputs = torch.randn(4, 3, 16, 16)
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
    found = attention_maps(encoder, inputs)
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-5)


def test_weights_are_those_of_the_layers_matrices(encoder):
    assert matrix_weights(encoder).size == 2 * (4 * D * D + 2 * 48 * D)
