"""The encoder as a backbone for dense tasks: windows, any size, in detectors and segmentors."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.registry import MODELS as MMDET
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS as MMSEG
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer

from mixae.models import MaskedViT
from mixae.models.layers.window_attention import from_windows, to_windows, window_attention

ARCH = dict(embed_dims=24, num_layers=3, num_heads=2, feedforward_channels=48)
SIZES = dict(img_size=32, patch_size=8)
FEATMAP = dict(out_type='featmap', final_norm=False)


def scramble(module, seed=1):
    """Weights far from their initialisation, norms and position embedding included."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in module.named_parameters():
        p.data = 0.2 * torch.randn(p.shape, generator=generator)
        if name.endswith(('ln1.weight', 'ln2.weight')):
            p.data += 1
    return module


def images(height=32, width=32, batch=2):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(2))


def pretraining_encoder():
    return scramble(MaskedViT(ARCH, **SIZES, mask_ratio=0.75)).eval()


def whole_image(encoder, x):
    """The pre-training encoder's patch tokens with no patch masked, as maps, before ``ln1``."""
    ids = torch.arange(encoder.num_patches).expand(len(x), -1)
    encoder.final_norm = False
    tokens = encoder(x, ids_visible=ids)[0][:, 1:]
    encoder.final_norm = True
    return tokens.transpose(1, 2).unflatten(2, encoder.patch_resolution)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """A checkpoint as pre-training saves it."""
    encoder = pretraining_encoder()
    path = tmp_path_factory.mktemp('pretrained') / 'epoch_1.pth'
    state = {f'backbone.{k}': v for k, v in encoder.state_dict().items()}
    torch.save(dict(state_dict=state | {'neck.mask_token': torch.zeros(1, 1, 8)}), path)
    return path


def dense_attention_in_windows(attn, x, grid, w):
    """The reference: all pairs of tokens of the padded grid, masked to those of one window."""
    (H, W), D = grid, x.shape[-1]
    padded_H, padded_W = -(-H // w) * w, -(-W // w) * w
    padded = torch.zeros(len(x), padded_H, padded_W, D)
    padded[:, :H, :W] = x.unflatten(1, grid)
    q, k, v = (
        part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
        for part in attn.qkv(padded.flatten(1, 2)).chunk(3, dim=-1)
    )
    rows, columns = torch.meshgrid(torch.arange(padded_H), torch.arange(padded_W), indexing='ij')
    window = ((rows // w) * padded_W + columns // w).flatten()
    logits = q @ k.transpose(-2, -1) / attn.head_dims**0.5
    logits = logits.masked_fill(window[:, None] != window[None, :], -torch.inf)
    out = attn.proj((logits.softmax(-1) @ v).transpose(1, 2).flatten(2))
    return out.unflatten(1, (padded_H, padded_W))[:, :H, :W].flatten(1, 2)


@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    window=st.integers(1, 8),
    batch=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_windows_come_back_as_they_were(height, width, window, batch):
    x = torch.randn(batch, height * width, 3)
    parts = to_windows(x, (height, width), window)
    assert parts.shape[1] == window**2
    assert torch.equal(from_windows(parts, (height, width), window), x)


@pytest.mark.parametrize('grid, window', [((4, 4), 2), ((5, 3), 2), ((4, 6), 5), ((3, 3), 8)])
def test_window_attention_is_masked_dense_attention(grid, window):
    attn = scramble(MaskedViT(ARCH, **SIZES).layers[0].attn).eval()
    x = torch.randn(2, grid[0] * grid[1], 24, requires_grad=True)
    mine = window_attention(attn, x, grid, window)
    reference = dense_attention_in_windows(attn, x, grid, window)
    torch.testing.assert_close(mine, reference, atol=1e-5, rtol=0)
    weight = torch.randn_like(mine)
    inputs = [x, *attn.parameters()]
    for ours, theirs in zip(
        *(torch.autograd.grad((y * weight).sum(), inputs) for y in (mine, reference)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_window_attention_refuses_a_class_token():
    attn = MaskedViT(ARCH, **SIZES).layers[0].attn
    with pytest.raises(ValueError, match='17 tokens are not a grid of 4x4'):
        window_attention(attn, torch.zeros(1, 17, 24), (4, 4), 2)


@pytest.mark.parametrize('training', [False, True])
def test_one_window_over_the_whole_grid_is_the_layers_own_attention(training):
    """With its layer scale and, in training alone, its dropouts."""
    rates = dict(attn_drop_rate=0.5, drop_rate=0.5, layer_scale_init_value=0.3)
    vit = scramble(MaskedViT(ARCH, **SIZES, layer_cfgs=rates)).train(training)
    attn, x = vit.layers[0].attn, torch.randn(2, 16, 24)
    torch.manual_seed(0)
    mine = window_attention(attn, x, (4, 4), 4)
    torch.manual_seed(0)
    torch.testing.assert_close(mine, attn(x), atol=1e-6, rtol=1e-5)


def test_recomputed_windows_drop_what_they_dropped():
    rates = dict(attn_drop_rate=0.5)
    attn = scramble(MaskedViT(ARCH, **SIZES, layer_cfgs=rates).layers[0].attn).train()
    x = torch.randn(2, 16, 24)
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        out = window_attention(attn, x, (4, 4), 2, recompute=recompute)
        gradients.append(torch.autograd.grad(out.square().sum(), list(attn.parameters())))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_windows_attend_in_the_precision_of_autocast():
    attn = MaskedViT(ARCH, **SIZES).layers[0].attn
    attend, dtypes = attn.scaled_dot_product_attention, []

    def spy(*qkv, **kwargs):
        dtypes.extend(part.dtype for part in qkv)
        return attend(*qkv, **kwargs)

    attn.scaled_dot_product_attention = spy
    with torch.autocast('cpu', torch.bfloat16):
        out = window_attention(attn, torch.randn(2, 16, 24), (4, 4), 2)
    assert dtypes == [torch.bfloat16] * 3 and out.dtype == torch.bfloat16


def test_drop_path_drops_images_not_windows():
    vit = MaskedViT(ARCH, **SIZES, **FEATMAP, window_size=2, drop_path_rate=0.5).train()
    attn = vit.layers[2].attn
    out = window_attention(attn, torch.randn(64, 16, 24), (4, 4), 2)
    dropped = (out == 0).all(-1)
    assert 10 < int(dropped.all(1).sum()) < 54
    assert torch.equal(dropped.any(1), dropped.all(1))


def test_the_last_norm_on_every_output():
    plain = scramble(MaskedViT(ARCH, **SIZES, **FEATMAP, out_indices=[0, 1, 2])).eval()
    normed = MaskedViT(
        ARCH, **SIZES, out_type='featmap', norm_outputs=True, out_indices=[0, 1, 2]
    ).eval()
    normed.load_state_dict(plain.state_dict(), strict=False)
    scramble(normed.ln1)
    x = images()
    for before, after in zip(plain(x), normed(x), strict=True):
        weight, bias = normed.ln1.weight, normed.ln1.bias
        channels_last = before.permute(0, 2, 3, 1)
        expected = (channels_last - channels_last.mean(-1, keepdim=True)) / (
            channels_last.var(-1, unbiased=False, keepdim=True) + normed.ln1.eps
        ).sqrt()
        expected = (weight * expected + bias).permute(0, 3, 1, 2)
        torch.testing.assert_close(after, expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match='final_norm=True'):
        MaskedViT(ARCH, **SIZES, **FEATMAP, norm_outputs=True)


def timm_without_class_token(vit, size):
    """timm's ViT for images of ``size``, a side or (height, width), with the weights of ``vit``."""
    reference = VisionTransformer(
        img_size=size,
        patch_size=8,
        embed_dim=24,
        depth=3,
        num_heads=2,
        mlp_ratio=2,
        num_classes=0,
        class_token=False,
        global_pool='',
    ).eval()
    renamed = {}
    for key, value in vit.state_dict().items():
        for ours, theirs in (
            ('patch_embed.projection', 'patch_embed.proj'),
            ('ffn.layers.0.0', 'mlp.fc1'),
            ('ffn.layers.1', 'mlp.fc2'),
            ('layers.', 'blocks.'),
            ('.ln1.', '.norm1.'),
            ('.ln2.', '.norm2.'),
        ):
            key = key.replace(ours, theirs)
        renamed['norm' + key[3:] if key.startswith('ln1.') else key] = value
    renamed['pos_embed'] = resample_abs_pos_embed(
        renamed['pos_embed'][:, 1:],
        new_size=list(reference.patch_embed.grid_size),
        num_prefix_tokens=0,
    )
    renamed.pop('cls_token')
    if not vit.final_norm:
        reference.norm = torch.nn.Identity()
    reference.load_state_dict(renamed)
    return reference


@pytest.mark.parametrize('window, global_layers', [(4, ()), (2, (0, 1, 2)), (4, (1,))])
def test_windows_as_large_as_the_image_are_a_plain_vit_without_class_token(window, global_layers):
    vit = scramble(
        MaskedViT(ARCH, **SIZES, **FEATMAP, window_size=window, global_layers=global_layers)
    ).eval()
    (mine,) = vit(images())
    reference = timm_without_class_token(vit, 32)(images())
    torch.testing.assert_close(mine.flatten(2).transpose(1, 2), reference, atol=1e-5, rtol=0)


@pytest.mark.parametrize('window, global_layers', [(2, (0, 1, 2)), (4, (1,)), (6, ())])
@pytest.mark.parametrize('final_norm', [False, True])
def test_windows_on_a_rectangle_are_timms_layers_with_masked_attention(
    window, global_layers, final_norm
):
    options = dict(window_size=window, global_layers=global_layers, final_norm=final_norm)
    vit = scramble(MaskedViT(ARCH, **SIZES, out_type='featmap', **options)).eval()
    reference = timm_without_class_token(vit, (32, 48))
    # Windows of 4 and 6 do not tile 4x6 patches: their padding takes part, as in ViTDet.
    for i in {0, 1, 2} - set(global_layers):
        masked = partial(dense_attention_in_windows, vit.layers[i].attn, grid=(4, 6), w=window)
        reference.blocks[i].attn.forward = lambda x, masked=masked, **_: masked(x)
    x = images(32, 48)
    (mine,) = vit(x)
    expected = reference(x).transpose(1, 2).unflatten(2, (4, 6))
    torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('window', [None, 2])
def test_dropout_after_the_position_embedding(window):
    # The layers' own dropouts are off, so that nothing else differs.
    options = dict(window_size=window, drop_rate=0.5, layer_cfgs=dict(drop_rate=0.0))
    vit = scramble(MaskedViT(ARCH, **SIZES, **FEATMAP, **options))
    outs = [vit.train(training)(images())[0] for training in (True, True, False, False)]
    assert not torch.allclose(outs[0], outs[1])
    assert torch.equal(outs[2], outs[3])


def test_global_layers_alone_see_beyond_their_window():
    x = images().requires_grad_()

    def reach(**kwargs):
        vit = scramble(MaskedViT(ARCH, **SIZES, **FEATMAP, window_size=2, **kwargs)).eval()
        (out,) = vit(x)
        (gradient,) = torch.autograd.grad(out[0, :, 0, 0].sum(), x)
        return gradient[0].abs().sum(0).bool()

    confined = reach()
    assert confined[:16, :16].all() and not confined[16:].any() and not confined[:, 16:].any()
    assert reach(global_layers=(1,)).all()


@pytest.mark.parametrize('window', [None, 2])
def test_sizes_no_multiple_of_the_patch_are_padded_at_the_bottom_and_right(window):
    vit = scramble(MaskedViT(ARCH, **SIZES, **FEATMAP, window_size=window)).eval()
    x = images(35, 50)
    (mine,) = vit(x)
    (padded,) = vit(torch.nn.functional.pad(x, (0, 6, 0, 5)))
    assert mine.shape == (2, 24, 5, 7)
    assert torch.equal(mine, padded)


@pytest.mark.parametrize('window', [None, 2])
def test_recomputed_activations_give_the_same_gradients(window):
    gradients = []
    for with_cp in (False, True):
        vit = scramble(
            MaskedViT(ARCH, **SIZES, **FEATMAP, window_size=window, with_cp=with_cp)
        ).train()
        vit(images())[0].square().mean().backward()
        gradients.append([p.grad for p in vit.parameters() if p.requires_grad])
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('with_cp', [False, True])
def test_windows_are_made_again_once_in_the_backward_pass(monkeypatch, with_cp):
    # With checkpoints the layer makes them again, and its attention must not do so once more.
    made = []
    monkeypatch.setattr(
        'mixae.models.layers.window_attention.to_windows',
        lambda *args: made.append(1) or to_windows(*args),
    )
    vit = MaskedViT(ARCH, **SIZES, **FEATMAP, window_size=2, with_cp=with_cp).train()
    (out,) = vit(images())
    assert len(made) == 3
    out.square().mean().backward()
    assert len(made) == 6


def test_windows_keep_no_more_for_the_backward_pass_than_global_attention():
    arch = dict(embed_dims=64, num_layers=3, num_heads=4, feedforward_channels=256)
    x = images(512, 512, batch=1)
    kept = {}
    for window, global_layers in ((None, None), (14, (2,))):  # 32x32 patches are padded to 42x42
        vit = MaskedViT(
            arch, img_size=512, **FEATMAP, window_size=window, global_layers=global_layers
        ).train()
        vit(x)  # what is allocated once only
        with torch.profiler.profile(profile_memory=True) as profile:
            outputs = vit(x)
        kept[window] = sum(event.self_cpu_memory_usage for event in profile.key_averages())
        assert outputs[0].requires_grad
        del outputs  # or it would be counted as freed in the next round
    # The inputs of the layers' matrix products are the least that it must keep.
    assert min(kept.values()) > 3 * 1024 * (3 * 64 + 256) * 4
    assert kept[14] <= kept[None]


@pytest.mark.parametrize('window', [None, 2])
def test_every_trained_parameter_gets_a_gradient(window):
    # DistributedDataParallel waits for each of them.
    vit = MaskedViT(ARCH, **SIZES, **FEATMAP, window_size=window, train_pos_embed=True)
    vit(images())[0].square().mean().backward()
    assert not [n for n, p in vit.named_parameters() if p.requires_grad and p.grad is None]
    assert vit.cls_token.requires_grad is (window is None)


@pytest.mark.parametrize(
    'wrong, words',
    [
        (dict(window_size=-1), 'window_size=-1'),
        (dict(window_size=0), 'window_size=0.*None'),
        (dict(global_layers=(1,)), 'None for both'),
        (dict(window_size=2, global_layers=(1, 3)), r'global_layers=\[3\]: there are layers 0..2'),
        (dict(window_size=2, out_type='raw'), "out_type='featmap'"),
        (dict(window_size=2, mask_ratio=0.75), 'mask_ratio=None'),
    ],
)
def test_windows_that_make_no_sense_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        MaskedViT(ARCH, **SIZES, **{**FEATMAP, **wrong})


def backbone_config(checkpoint, **kwargs):
    return dict(
        type='mixae.MaskedViT',
        arch=ARCH,
        **SIZES,
        **FEATMAP,
        pretrained=str(checkpoint),
        **kwargs,
    )


@pytest.mark.dense
@pytest.mark.parametrize('windows', [{}, dict(window_size=4, global_layers=(2,))])
def test_features_in_a_detector_are_the_pretraining_encoders(checkpoint, windows):
    with DefaultScope.overwrite_default_scope('mmdet'):
        detector = MMDET.build(
            dict(
                type='RetinaNet',
                backbone=backbone_config(checkpoint, **windows),
                neck=dict(type='mixae.SimpleFeaturePyramid', in_channels=24, out_channels=16),
                bbox_head=dict(
                    type='RetinaHead',
                    num_classes=3,
                    in_channels=16,
                    feat_channels=16,
                    stacked_convs=1,
                ),
            )
        )
        detector.init_weights()
        detector.eval()
    x = images()
    (mine,) = detector.backbone(x)
    if windows:  # windows do without the class token: the reference is timm's ViT without one
        encoder = MaskedViT(ARCH, **SIZES, **FEATMAP)
        encoder.load_state_dict(detector.backbone.state_dict())
        expected = timm_without_class_token(encoder, 32)(x).transpose(1, 2).unflatten(2, (4, 4))
    else:
        expected = whole_image(pretraining_encoder(), x)
    torch.testing.assert_close(mine, expected, atol=1e-5, rtol=0)
    assert [tuple(f.shape[2:]) for f in detector.extract_feat(x)] == [
        (16, 16),
        (8, 8),
        (4, 4),
        (2, 2),
        (1, 1),
    ]


@pytest.mark.dense
def test_features_in_a_segmentor_are_the_pretraining_encoders(checkpoint):
    with DefaultScope.overwrite_default_scope('mmseg'):
        segmentor = MMSEG.build(
            dict(
                type='EncoderDecoder',
                data_preprocessor=dict(type='SegDataPreProcessor'),
                backbone=backbone_config(checkpoint, out_indices=[0, 1, 2, 2]),
                decode_head=dict(
                    type='FCNHead',
                    in_channels=24,
                    in_index=2,
                    channels=24,
                    num_convs=0,
                    concat_input=False,
                    num_classes=5,
                ),
            )
        )
        segmentor.init_weights()
        segmentor.eval()
    x = images()
    features = segmentor.extract_feat(x)
    torch.testing.assert_close(
        features[2], whole_image(pretraining_encoder(), x), atol=1e-5, rtol=0
    )
    assert segmentor(x, mode='tensor').shape == (2, 5, 4, 4)
