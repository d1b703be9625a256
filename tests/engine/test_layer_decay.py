"""Layer-wise learning-rate decay against timm's, in the optimiser wrappers of mmdet and mmseg."""

import pytest
import torch
from mmdet.registry import MODELS as MMDET
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS as MMSEG
from timm.models.vision_transformer import VisionTransformer
from timm.optim import param_groups_layer_decay
from torch import nn

ARCH = dict(embed_dims=24, num_layers=4, num_heads=2, feedforward_channels=48)
BACKBONE = dict(type='mixae.MaskedViT', arch=ARCH, img_size=32, patch_size=8, train_pos_embed=True)
DETECTOR = dict(
    type='RetinaNet',
    backbone=BACKBONE,
    neck=dict(type='mixae.SimpleFeaturePyramid', in_channels=24, out_channels=24),
    bbox_head=dict(
        type='RetinaHead', num_classes=3, in_channels=24, feat_channels=8, stacked_convs=1
    ),
)
SEGMENTOR = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor'),
    backbone=BACKBONE,
    decode_head=dict(type='FCNHead', in_channels=24, channels=8, num_convs=1, num_classes=5),
)


def wrapper_config(rate=0.65):
    return dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
        constructor='mixae.LayerDecayOptimWrapperConstructor',
        paramwise_cfg=dict(
            layer_decay_rate=rate,
            norm_decay_mult=0.0,
            bias_decay_mult=0.0,
            flat_decay_mult=0.0,
            custom_keys={'.cls_token': dict(decay_mult=0.0), '.pos_embed': dict(decay_mult=0.0)},
        ),
    )


def timm_scales(rate):
    """Scale and weight decay of each of a ViT's parameters, under our names."""
    vit = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=4, num_heads=2, mlp_ratio=2, num_classes=3
    )
    names = {id(p): n for n, p in vit.named_parameters()}
    groups = param_groups_layer_decay(
        vit, weight_decay=0.05, no_weight_decay_list=vit.no_weight_decay(), layer_decay=rate
    )
    found = {}
    for group in groups:
        for p in group['params']:
            name = names[id(p)]
            if name.startswith('blocks'):
                name = name.replace('norm1', 'ln1').replace('norm2', 'ln2')
            for theirs, ours in (
                ('patch_embed.proj.', 'patch_embed.projection.'),
                ('blocks.', 'layers.'),
                ('mlp.fc1', 'ffn.layers.0.0'),
                ('mlp.fc2', 'ffn.layers.1'),
            ):
                name = name.replace(theirs, ours)
            name = 'ln1' + name.removeprefix('norm') if name.startswith('norm.') else name
            found[name] = (group['lr_scale'], group['weight_decay'])
    return found


@pytest.mark.dense
@pytest.mark.parametrize(
    'scope, registry, config', [('mmdet', MMDET, DETECTOR), ('mmseg', MMSEG, SEGMENTOR)]
)
def test_scales_are_timms(scope, registry, config):
    with DefaultScope.overwrite_default_scope(scope):
        model = registry.build(config)
        wrapper = build_optim_wrapper(model, wrapper_config(rate=0.65))
    groups = wrapper.optimizer.param_groups
    names = {id(p): n for n, p in model.named_parameters()}
    mine = {names[id(p)]: (g['lr'] / 1e-3, g['weight_decay']) for g in groups for p in g['params']}
    assert set(mine) == {n for n, p in model.named_parameters() if p.requires_grad}
    theirs = timm_scales(rate=0.65)
    assert theirs.pop('head.weight') == (1, 0.05) and theirs.pop('head.bias') == (1, 0)
    # timm lets the final norm learn with the last layer, BEiT (and so this) with the head.
    for name in ('ln1.weight', 'ln1.bias'):
        assert theirs[name] == (0.65, 0)
        theirs[name] = (1, 0)
    encoder = {n.removeprefix('backbone.'): v for n, v in mine.items() if 'backbone.' in n}
    assert set(encoder) == set(theirs)
    for name, (scale, decay) in theirs.items():
        assert encoder[name] == (pytest.approx(scale), decay), name
    for name, (scale, decay) in mine.items():
        if not name.startswith('backbone.'):
            assert scale == 1 and decay == (0.05 if model.get_parameter(name).ndim > 1 else 0), name


def test_a_frozen_encoder_has_no_groups():
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MMSEG.build({**SEGMENTOR, 'backbone': {**BACKBONE, 'frozen': True}})
        wrapper = build_optim_wrapper(model, wrapper_config())
    assert all(g['param_name'].startswith('decode_head') for g in wrapper.optimizer.param_groups)


def test_a_backbone_without_depth_is_refused():
    model = nn.Module()
    model.backbone = nn.Linear(2, 2)
    with pytest.raises(ValueError, match='needs a backbone with get_layer_depth.*Linear'):
        build_optim_wrapper(model, wrapper_config())


@pytest.mark.parametrize('rate', [0.0, 1.5])
def test_a_rate_that_is_none_is_refused(rate):
    model = nn.Module()
    model.backbone = nn.Linear(2, 2)
    model.backbone.get_layer_depth = lambda name, prefix: (0, 2)
    with pytest.raises(ValueError, match='layer_decay_rate'):
        build_optim_wrapper(model, wrapper_config(rate))


def test_one_step_moves_early_layers_less():
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MMSEG.build(SEGMENTOR)
        config = wrapper_config(rate=0.5)
        config['optimizer'] = dict(type='SGD', lr=1.0, weight_decay=0.0)
        wrapper = build_optim_wrapper(model, config)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    wrapper.step()
    moved = {n: (before[n] - p).mean().item() for n, p in model.named_parameters()}
    assert moved['backbone.patch_embed.projection.weight'] == pytest.approx(0.5**5, rel=1e-4)
    assert moved['backbone.layers.3.attn.proj.weight'] == pytest.approx(0.5, rel=1e-4)
    assert moved['decode_head.conv_seg.weight'] == pytest.approx(1.0, rel=1e-4)
