"""Attention in fp32 where a CPU is slow in bfloat16: the same function, nearer to the exact one."""

import copy

import torch
import torch.nn.functional as F
from mmpretrain.models import MAEPretrainDecoder

from mixae.models import MaskedViT
from mixae.models.layers.attention import attend, use_attend

SMALL = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)


def test_it_is_nearer_to_the_exact_result_than_bfloat16():
    torch.manual_seed(0)
    exact = [x.requires_grad_() for x in torch.randn(3, 2, 4, 33, 16).unbind()]
    grad = torch.randn(2, 4, 33, 16)
    found = []
    for attention, dtype in (
        (F.scaled_dot_product_attention, None),
        (F.scaled_dot_product_attention, 1),
        (attend, 1),
    ):
        inputs = [x if dtype is None else x.bfloat16() for x in exact]
        with torch.autocast('cpu', torch.bfloat16, enabled=dtype is not None):
            out = attention(*inputs)
        assert out.dtype == inputs[0].dtype
        found.append([out, *torch.autograd.grad(out, inputs, grad.to(out.dtype))])
    for truth, theirs, ours in zip(*found, strict=True):
        errors = [(x.float() - truth).abs().mean() for x in (ours, theirs)]
        assert errors[0] <= errors[1] < 0.02
    assert torch.equal(attend(*exact), F.scaled_dot_product_attention(*exact))  # fp32 as it was


def test_encoder_and_decoder_use_it_and_compute_the_same_in_fp32():
    torch.manual_seed(0)
    encoder = MaskedViT(SMALL, img_size=16, patch_size=4, mask_ratio=0.75)
    decoder = MAEPretrainDecoder(16, 4, 3, 32, 32, 1, 2)
    images, tokens = torch.randn(2, 3, 16, 16), torch.randn(2, 5, 32)
    for module in (encoder, decoder):
        plain = copy.deepcopy(module)
        use_attend(module)
        use_attend(module)
        assert copy.deepcopy(module).state_dict().keys() == plain.state_dict().keys()
        layers = module.layers if module is encoder else module.decoder_blocks
        assert all(layer.attn.scaled_dot_product_attention is attend for layer in layers)
        run = (
            (lambda m: m(images, mask=False)[0])
            if module is encoder
            else (lambda m: m(tokens, torch.arange(16).repeat(2, 1)))
        )
        assert torch.equal(run(module), run(plain))
        with torch.autocast('cpu', torch.bfloat16):
            torch.testing.assert_close(run(module), run(plain), atol=0.05, rtol=0.05)
