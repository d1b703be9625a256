"""Encoders of other projects load by named mappings; whatever else is refused."""

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from mixae.checkpoints.key_mappings import TIMM_VIT
from mixae.checkpoints.load import load_encoder
from mixae.errors import CheckpointError
from mixae.models import MaskedViT

ARCH = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=96)


def ours(**options):
    return MaskedViT(ARCH, **dict(img_size=32, patch_size=8) | options).eval()


def theirs(**options):
    torch.manual_seed(0)
    vit = VisionTransformer(
        **dict(
            img_size=32,
            patch_size=8,
            embed_dim=24,
            depth=2,
            num_heads=2,
            num_classes=0,
            global_pool='',
        )
        | options
    )
    for p in vit.parameters():
        p.data += 0.2 * torch.randn_like(p)
    return vit.eval()


def facebook_mae(vit):
    """The layout of the file that Facebook's MAE released with its decoder."""
    decoder = {
        'mask_token': torch.zeros(1, 1, 16),
        'decoder_pos_embed': torch.zeros(1, 17, 16),
        'decoder_embed.weight': torch.zeros(16, 24),
        'decoder_embed.bias': torch.zeros(16),
        'decoder_blocks.0.attn.qkv.weight': torch.zeros(48, 16),
        'decoder_norm.weight': torch.zeros(16),
        'decoder_pred.weight': torch.zeros(192, 16),
    }
    return dict(model=vit.state_dict() | decoder)


@pytest.mark.parametrize(
    'content',
    [
        lambda vit: vit.state_dict(),
        lambda vit: dict(model=vit.state_dict()),
        lambda vit: dict(state_dict=vit.state_dict()),
        facebook_mae,
    ],
    ids=['timm', 'facebook, encoder', 'training script', 'facebook, with decoder'],
)
def test_features_are_the_other_librarys(tmp_path, content):
    vit, path = theirs(), tmp_path / 'weights.pth'
    torch.save(content(vit), path)
    encoder = ours()
    load_encoder(encoder, path, allow=())
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(encoder(x)[0], vit.forward_features(x), atol=1e-5, rtol=0)


def test_a_head_is_dropped_and_an_average_pools_norm_kept(tmp_path):
    vit = theirs(num_classes=5, global_pool='avg')
    path = tmp_path / 'finetuned.pth'
    torch.save(dict(model=vit.state_dict()), path)
    encoder = ours(out_type='avg_featmap', final_norm=False)
    load_encoder(encoder, path, allow=())
    x = torch.randn(2, 3, 32, 32)
    expected = vit.forward_head(vit.forward_features(x), pre_logits=True)
    torch.testing.assert_close(encoder(x)[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    'options, key',
    [
        (dict(qk_norm=True), 'q_norm'),
        (dict(init_values=0.1), 'ls1.gamma'),
        (dict(reg_tokens=2), 'reg_token'),
        (dict(pre_norm=True), 'norm_pre'),
    ],
)
def test_other_vits_are_refused_with_their_keys(tmp_path, options, key):
    path = tmp_path / 'weights.pth'
    torch.save(theirs(**options).state_dict(), path)
    with pytest.raises(CheckpointError, match=f'named like timm, .*{key}'):
        load_encoder(ours(), path)


@pytest.mark.parametrize(
    'options',
    [dict(class_token=False), dict(no_embed_class=True), dict(embed_dim=48), dict(depth=3)],
    ids=str,
)
def test_vits_of_another_shape_are_refused(tmp_path, options):
    path = tmp_path / 'weights.pth'
    torch.save(theirs(**options).state_dict(), path)
    with pytest.raises(CheckpointError, match='does not fit MaskedViT'):
        load_encoder(ours(), path)


def test_other_architectures_are_refused(tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(timm.create_model('resnet18').state_dict(), path)
    with pytest.raises(
        CheckpointError, match='no encoder.*nor is one the patch embedding of a ViT'
    ):
        load_encoder(ours(), path)


def test_there_and_back_is_the_same():
    state = ours().state_dict()
    renamed, unknown = TIMM_VIT.from_ours(state)
    assert not unknown and set(renamed) == set(theirs().state_dict())
    back, unknown = TIMM_VIT.to_ours(renamed)
    assert not unknown and list(back) == list(state)
    assert all(back[k] is state[k] for k in state)
