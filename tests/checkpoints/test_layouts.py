"""Every project's own layout, written out here key by key, gives the features of its model."""

import re

import pytest
import timm
import torch
from safetensors.torch import save_file

from mixae.checkpoints.load import load_encoder
from mixae.errors import CheckpointError
from mixae.models import MaskedViT, TimmEncoder

ARCH = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=96)
SMALL = dict(embed_dim=24, depth=2, num_heads=2)
VIT, DINOV2 = 'vit_tiny_patch16_224', 'vit_small_patch14_dinov2'
REGISTERS, CLIP = 'vit_small_patch14_reg4_dinov2', 'vit_base_patch16_clip_224'
GIANT = 'vit_giant_patch14_dinov2'  # SwiGLU


def model_of(name, seed=0):
    torch.manual_seed(seed)
    built = timm.create_model(name, num_classes=0, img_size=28 if '14' in name else 32, **SMALL)
    for p in built.parameters():
        p.data += 0.1 * torch.randn_like(p)
    return built.eval()


def under(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def replaced(state, *pairs):
    for pattern, new in pairs:
        state = {re.sub(pattern, new, key): value for key, value in state.items()}
    return state


def split_qkv(state):
    parts = {}
    for key, value in state.items():
        if '.attn.qkv.' in key:
            for name, part in zip(('query', 'key', 'value'), value.chunk(3), strict=True):
                parts[key.replace('qkv', name)] = part.clone()
        else:
            parts[key] = value
    return parts


HF_NAMES = (
    (r'^patch_embed\.proj', 'embeddings.patch_embeddings.projection'),
    (r'^cls_token', 'embeddings.cls_token'),
    (r'^pos_embed', 'embeddings.position_embeddings'),
    (r'^norm\.', 'layernorm.'),
    (r'\.attn\.(query|key|value)', r'.attention.attention.\1'),
    (r'\.attn\.proj', '.attention.output.dense'),
    (r'^blocks\.', 'encoder.layer.'),
)


def hf_vit(state):
    more = (
        (r'\.norm1\.', '.layernorm_before.'),
        (r'\.norm2\.', '.layernorm_after.'),
        (r'\.mlp\.fc1', '.intermediate.dense'),
        (r'\.mlp\.fc2', '.output.dense'),
    )
    return replaced(split_qkv(state), *HF_NAMES, *more)


def hf_vit_mae(state):
    decoder = {
        'decoder.mask_token': torch.zeros(1, 1, 8),
        'decoder.decoder_pos_embed': torch.ones(1),
    }
    return under('vit.', hf_vit(state)) | decoder


def hf_dinov2(state):
    named = replaced(split_qkv(state), *HF_NAMES, (r'\.ls(\d)\.gamma', r'.layer_scale\1.lambda1'))
    return named | {'embeddings.mask_token': torch.zeros(1, 24)}


def hf_dinov2_giant(state):
    return replaced(
        hf_dinov2(state), (r'\.mlp\.fc1', '.mlp.weights_in'), (r'\.mlp\.fc2', '.mlp.weights_out')
    )


def mmpretrain(state):
    return replaced(
        state,
        (r'^patch_embed\.proj', 'patch_embed.projection'),
        (r'^blocks\.', 'layers.'),
        (r'\.norm(\d)\.', r'.ln\1.'),
        (r'^norm\.', 'ln1.'),
        (r'\.mlp\.fc1', '.ffn.layers.0.0'),
        (r'\.mlp\.fc2', '.ffn.layers.1'),
    )


def official_dinov2_registers(state):
    """The class token has a position of its own there, and registers another name."""
    state = dict(state)
    state['register_tokens'] = state.pop('reg_token')
    position = torch.randn(1, 1, 24)
    state['cls_token'] = state['cls_token'] - position[0]
    state['pos_embed'] = torch.cat([position, state['pos_embed']], dim=1)
    return state | {'mask_token': torch.zeros(1, 24)}


def openai_clip(state):
    named = replaced(
        {k: v for k, v in state.items() if k != 'cls_token'},
        (r'^patch_embed\.proj', 'conv1'),
        (r'^norm_pre\.', 'ln_pre.'),
        (r'^norm\.', 'ln_post.'),
        (r'\.norm(\d)\.', r'.ln_\1.'),
        (r'^blocks\.', 'transformer.resblocks.'),
        (r'attn\.qkv\.', 'attn.in_proj_'),
        (r'attn\.proj\.', 'attn.out_proj.'),
        (r'mlp\.fc1', 'mlp.c_fc'),
        (r'mlp\.fc2', 'mlp.c_proj'),
        (r'^pos_embed$', 'positional_embedding'),
    )
    named['positional_embedding'] = named['positional_embedding'][0]
    named |= {'class_embedding': state['cls_token'][0, 0], 'proj': torch.zeros(24, 8)}
    text = {'token_embedding.weight': torch.zeros(9, 8), 'logit_scale': torch.ones(())}
    return under('visual.', named) | text


def dino(name):
    """DINO and iBOT: both encoders with their heads, and what training needs."""

    def content(state):
        other = {key: torch.zeros_like(value) + 0.5 for key, value in state.items()}
        head = {'head.mlp.0.weight': torch.zeros(4, 24)}
        return dict(
            student=under('module.backbone.', other) | under('module.', head),
            teacher=under('backbone.', state) | head,
            epoch=3,
            optimizer=dict(state={}),
        )

    return content


def moco_v3(state):
    momentum = under('module.momentum_encoder.', {k: v + 1 for k, v in state.items()})
    head = {'module.base_encoder.head.0.weight': torch.zeros(4, 24)}
    return dict(state_dict=under('module.base_encoder.', state) | head | momentum, arch='vit_small')


def chunked(state):
    """DINOv2's training: blocks in chunks, under the teacher's backbone."""
    return dict(teacher=under('backbone.', replaced(state, (r'^blocks\.', 'blocks.0.'))))


LAYOUTS = {
    'timm': (VIT, lambda s: s, None),
    'timm, DDP': (VIT, lambda s: dict(model=under('module.', s)), None),
    'Lightning': (VIT, lambda s: dict(state_dict=under('model.', s)), None),
    'compiled': (VIT, lambda s: under('_orig_mod.', s), None),
    'EMA': (VIT, lambda s: dict(model_ema=s, epoch=1), None),
    'DeiT, bf16': (VIT, lambda s: dict(model={k: v.bfloat16() for k, v in s.items()}), None),
    'Hugging Face ViT': (VIT, hf_vit, None),
    'Hugging Face ViTMAE': (VIT, hf_vit_mae, None),
    'Hugging Face DINOv2': (DINOV2, hf_dinov2, None),
    'Hugging Face DINOv2 giant': (GIANT, hf_dinov2_giant, None),
    'mmpretrain ViT': (VIT, mmpretrain, None),
    'mmpretrain algorithm': (
        VIT,
        lambda s: dict(state_dict=under('backbone.', mmpretrain(s))),
        None,
    ),
    'DINO': (VIT, dino(VIT), 'teacher'),
    'MoCo v3': (VIT, moco_v3, 'base_encoder'),
    'DINOv2': (DINOV2, lambda s: s | {'mask_token': torch.zeros(1, 24)}, None),
    'DINOv2 with registers': (REGISTERS, official_dinov2_registers, None),
    'DINOv2 in training': (DINOV2, chunked, None),
    'CLIP': (CLIP, openai_clip, None),
    'OpenCLIP, timm trunk': (VIT, lambda s: under('visual.trunk.', s), None),
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_a_layout_gives_the_features_of_its_model(tmp_path, layout):
    name, content, part = LAYOUTS[layout]
    theirs = model_of(name)
    path = tmp_path / 'weights.pth'
    torch.save(content(dict(theirs.state_dict())), path)
    size = theirs.patch_embed.img_size[0]
    ours = TimmEncoder(
        name, model_args=SMALL, img_size=size, pretrained=str(path), pretrained_part=part
    ).eval()
    ours.init_weights()
    x = torch.randn(2, 3, size, size)
    tolerance = 2e-2 if 'bf16' in layout else 1e-5
    with torch.no_grad():
        expected = theirs.forward_features(x)
        torch.testing.assert_close(ours(x)[0], expected, atol=tolerance, rtol=tolerance)
        if name == VIT:
            plain = MaskedViT(ARCH, img_size=32, patch_size=16, out_type='raw').eval()
            load_encoder(plain, path, allow=(), part=part)
            torch.testing.assert_close(plain(x)[0], expected, atol=tolerance, rtol=tolerance)


def test_safetensors(tmp_path):
    theirs = model_of(VIT)
    save_file(dict(theirs.state_dict()), tmp_path / 'x.safetensors')
    plain = MaskedViT(ARCH, img_size=32, patch_size=16, out_type='raw').eval()
    load_encoder(plain, tmp_path / 'x.safetensors', allow=())
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(plain(x)[0], theirs.forward_features(x), atol=1e-5, rtol=1e-5)


def _beit():
    return timm.create_model('beit_base_patch16_224', img_size=32, **SMALL).state_dict()


@pytest.mark.parametrize(
    'content, part, match',
    [
        (lambda s: dino(VIT)(s), None, 'holds 2 encoders: student, teacher. Choose one: '),
        (
            lambda s: dino(VIT)(s),
            'target',
            "no encoder named 'target'. There are: student, teacher",
        ),
        (lambda s: moco_v3(s), None, '2 encoders: base_encoder, momentum_encoder'),
        (lambda s: s | {'blocks.0.attn.qkv.lora_A.weight': torch.ones(2, 24)}, None, 'LoRA'),
        (lambda s: {'token_embedding.weight': torch.ones(3, 3)}, None, 'a text model'),
        (lambda s: _beit(), None, 'BEiT with relative positions.*TimmEncoder'),
        (lambda s: openai_clip(model_of(CLIP).state_dict()), None, "CLIP's visual tower"),
        (lambda s: s | {'blocks.0.adapter.weight': torch.ones(2)}, None, 'blocks.0.adapter.weight'),
        (lambda s: {'layer1.0.conv1.weight': torch.ones(2)}, None, 'has no encoder'),
    ],
)
def test_what_is_no_plain_vit_is_refused_by_name(tmp_path, content, part, match):
    path = tmp_path / 'weights.pth'
    torch.save(content(dict(model_of(VIT).state_dict())), path)
    plain = MaskedViT(ARCH, img_size=32, patch_size=16)
    with pytest.raises(CheckpointError, match=match):
        load_encoder(plain, path, part=part)
