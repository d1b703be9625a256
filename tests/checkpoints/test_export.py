"""Exports load in the library they are for, and give the encoder's features."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from safetensors.torch import load_file

from mixae.checkpoints import export as module
from mixae.checkpoints.export import export
from mixae.checkpoints.load import load_encoder
from mixae.errors import CheckpointError, ConfigError, OutputError
from mixae.models import MaskedViT

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def encoder():
    torch.manual_seed(0)
    vit = MaskedViT('ti', img_size=64, patch_size=16)
    for p in vit.parameters():
        p.data += 0.1 * torch.randn_like(p)
    return vit.eval()


@pytest.fixture(scope='module')
def checkpoint(encoder, tmp_path_factory):
    """As pre-training saves it, with a neck and a segment embedding beside the encoder."""
    path = tmp_path_factory.mktemp('run') / 'epoch_1.pth'
    state = {f'backbone.{k}': v for k, v in encoder.state_dict().items()}
    torch.save(dict(state_dict=state | {'segments': torch.zeros(4, 192)}), path)
    return path


@pytest.fixture(scope='module')
def x():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def test_timm(encoder, checkpoint, x, tmp_path):
    out = export(checkpoint, 'timm', tmp_path / 'vit.safetensors')
    vit = timm.create_model(
        'vit_tiny_patch16_224', img_size=64, num_classes=0, checkpoint_path=str(out)
    )
    torch.testing.assert_close(vit.eval().forward_features(x), encoder(x)[0], atol=1e-5, rtol=0)


def test_mmpretrain(encoder, checkpoint, x, tmp_path):
    config = dict(
        type='ImageClassifier',
        backbone=dict(
            type='VisionTransformer',
            arch='deit-tiny',
            img_size=64,
            patch_size=16,
            out_type='raw',
        ),
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        classifier = MODELS.build(config).eval()
        classifier.load_state_dict(
            load_file(export(checkpoint, 'mmpretrain', tmp_path / 'vit.safetensors'))
        )
        torch.testing.assert_close(classifier.backbone(x)[0], encoder(x)[0], atol=1e-5, rtol=0)
        # The way of its configs, by mmengine's own loader.
        out = export(checkpoint, 'mmpretrain', tmp_path / 'vit.pth')
        config['backbone']['init_cfg'] = dict(
            type='Pretrained', checkpoint=str(out), prefix='backbone.'
        )
        classifier = MODELS.build(config).eval()
        classifier.init_weights()
    torch.testing.assert_close(classifier.backbone(x)[0], encoder(x)[0], atol=1e-5, rtol=0)


HUGGING_FACE = """
import sys, torch
from transformers import ViTModel
folder, source, target = sys.argv[1:]
vit, info = ViTModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
assert not any(info[k] for k in ('missing_keys', 'unexpected_keys', 'mismatched_keys')), info
with torch.no_grad():
    torch.save(vit.eval()(torch.load(source)).last_hidden_state, target)
"""


def test_hugging_face(encoder, checkpoint, x, tmp_path):
    """With `pip install --target FOLDER transformers` and MIXAE_TEST_TRANSFORMERS=FOLDER.

    It cannot be pinned with the rest: version 4 asks for huggingface_hub below 1, and version 5
    breaks mmpretrain where both are installed.
    """
    folder = os.environ.get('MIXAE_TEST_TRANSFORMERS')
    if not folder:
        pytest.skip('MIXAE_TEST_TRANSFORMERS names no folder with transformers')
    out = export(checkpoint, 'huggingface', tmp_path / 'vit')
    torch.save(x, tmp_path / 'x.pt')
    # In a process of its own: mmpretrain and transformers get in each other's way.
    subprocess.run(
        [sys.executable, '-c', HUGGING_FACE, out, tmp_path / 'x.pt', tmp_path / 'y.pt'],
        check=True,
        timeout=300,
        env={**os.environ, 'PYTHONPATH': folder, 'HF_HUB_OFFLINE': '1'},
    )
    torch.testing.assert_close(torch.load(tmp_path / 'y.pt'), encoder(x)[0], atol=1e-5, rtol=0)


def test_hugging_faces_files_hold_the_encoder_part_for_part(encoder, checkpoint, tmp_path):
    """Without transformers: the names and numbers that its ``ViTModel`` reads."""
    out = export(checkpoint, 'huggingface', tmp_path / 'vit')
    theirs, ours = load_file(out / 'model.safetensors'), encoder.state_dict()
    names = {
        'layernorm_before': 'ln1',
        'layernorm_after': 'ln2',
        'attention.output.dense': 'attn.proj',
        'intermediate.dense': 'ffn.layers.0.0',
        'output.dense': 'ffn.layers.1',
    }
    expected = {
        'embeddings.cls_token': ours['cls_token'],
        'embeddings.position_embeddings': ours['pos_embed'],
    }
    for leaf in ('weight', 'bias'):
        expected[f'layernorm.{leaf}'] = ours[f'ln1.{leaf}']
        name = f'embeddings.patch_embeddings.projection.{leaf}'
        expected[name] = ours[f'patch_embed.projection.{leaf}']
        for i in range(12):
            qkv = ours[f'layers.{i}.attn.qkv.{leaf}'].chunk(3)
            for name, rows in zip(('query', 'key', 'value'), qkv, strict=True):
                expected[f'encoder.layer.{i}.attention.attention.{name}.{leaf}'] = rows
            for name, our_name in names.items():
                expected[f'encoder.layer.{i}.{name}.{leaf}'] = ours[f'layers.{i}.{our_name}.{leaf}']
    assert theirs.keys() == expected.keys()
    assert [k for k, v in expected.items() if not torch.equal(theirs[k], v)] == []
    # The ViT of the fixture: what weights do not tell, transformers would take from its defaults.
    expected = dict(
        model_type='vit',
        hidden_size=192,
        num_hidden_layers=12,
        num_attention_heads=3,
        intermediate_size=768,
        hidden_act='gelu',
        layer_norm_eps=1e-6,
        image_size=64,
        patch_size=16,
        num_channels=3,
        qkv_bias=True,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    config = json.loads((out / 'config.json').read_text())
    assert {key: config.get(key) for key in expected} == expected


def test_an_export_to_timm_loads_here_again(encoder, checkpoint, tmp_path):
    out = export(checkpoint, 'timm', tmp_path / 'vit.safetensors')
    again = MaskedViT('ti', img_size=64, patch_size=16)
    load_encoder(again, out, allow=())
    state = encoder.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in again.state_dict().items())


@pytest.mark.parametrize(
    'layout, out, words',
    [
        ('onnx', 'vit.onnx', "layout='onnx' is unknown"),
        ('timm', 'vit.pth', 'written as .safetensors'),
        ('huggingface', 'vit.safetensors', 'written as a folder'),
    ],
)
def test_what_cannot_be_written_is_refused(checkpoint, tmp_path, layout, out, words):
    with pytest.raises(ValueError, match=words):
        export(checkpoint, layout, tmp_path / out)
    assert not list(tmp_path.iterdir())


def test_a_part_that_the_layout_has_no_place_for_is_refused(encoder, tmp_path):
    state = {f'backbone.{k}': v for k, v in encoder.state_dict().items()}
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=state | {'backbone.pre_norm.weight': torch.ones(192)}), path)
    with pytest.raises(CheckpointError, match='has no place for pre_norm.weight'):
        export(path, 'timm', tmp_path / 'vit.safetensors')


@pytest.mark.parametrize('layout, out', [('timm', 'a.safetensors'), ('huggingface', 'a')])
def test_an_encoder_without_its_final_norm_is_refused(layout, out, tmp_path):
    """A detector's: Hugging Face would put a random norm there."""
    vit = MaskedViT('ti', img_size=64, out_type='featmap', final_norm=False)
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in vit.state_dict().items()}), path)
    with pytest.raises(CheckpointError, match='no final norm.*Export the pre-training checkpoint'):
        export(path, layout, tmp_path / out)
    assert not (tmp_path / out).exists()


def test_another_architecture_is_refused(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict={'backbone.conv1.weight': torch.zeros(2, 3, 7, 7)}), path)
    with pytest.raises(CheckpointError, match='no ViT as its encoder: cls_token, .*conv1.weight'):
        export(path, 'mmpretrain', tmp_path / 'a.pth')


def test_hugging_face_needs_a_square_grid(tmp_path):
    state = MaskedViT('ti', img_size=64).state_dict()
    state['pos_embed'] = torch.zeros(1, 1 + 24, 192)  # of another project: 4x6 patches
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in state.items()}), path)
    with pytest.raises(ValueError, match='24 patches is not of a square image'):
        export(path, 'huggingface', tmp_path / 'a')


def test_a_grid_that_is_told_is_not_taken_for_a_square_of_as_many_patches(tmp_path):
    vit = MaskedViT('ti', img_size=(32, 72), patch_size=8)
    state = {f'backbone.{k}': v for k, v in vit.state_dict().items()}
    told = dict(backbone=dict(arch='ViT-Ti', img_size='32x72', patch_size=8))
    torch.save(dict(state_dict=state, mixae=told), tmp_path / 'epoch_1.pth')
    with pytest.raises(ConfigError, match='a grid of 4x9 patches; .*square image'):
        export(tmp_path / 'epoch_1.pth', 'huggingface', tmp_path / 'a')


def test_heads_of_a_narrow_encoder_must_be_said(tmp_path):
    vit = MaskedViT(
        dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48),
        img_size=32,
        patch_size=8,
    )
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in vit.state_dict().items()}), path)
    with pytest.raises(ValueError, match='24 wide: give its number of attention heads'):
        export(path, 'huggingface', tmp_path / 'vit')
    with pytest.raises(ValueError, match='5 heads do not divide a width of 24'):
        export(path, 'huggingface', tmp_path / 'vit', num_heads=5)


def changed(encoder, path, **changes):
    """A checkpoint with some of the encoder's weights changed, or dropped where None."""
    state = {**encoder.state_dict(), **{k.replace('__', '.'): v for k, v in changes.items()}}
    state = {f'backbone.{k}': v for k, v in state.items() if v is not None}
    torch.save(dict(state_dict=state), path)
    return path


LAYOUTS = [('timm', 'a.safetensors'), ('mmpretrain', 'a.pth'), ('huggingface', 'a')]
MATRIX = 'layers__3__attn__proj__weight'


@pytest.mark.parametrize('layout, out', LAYOUTS)
@pytest.mark.parametrize(
    'changes, words',
    [
        ({MATRIX: torch.full((192, 192), torch.nan)}, 'attn.proj.weight .* are not finite'),
        ({MATRIX: torch.ones(192, 192, dtype=torch.int64)}, 'are no floating-point numbers'),
        ({MATRIX: torch.zeros(192, 192)}, 'are nothing but zeros'),
        ({MATRIX: torch.ones(192, 96)}, r'layers.3.attn.proj.weight \(192, 96\) for \(192, 192'),
        ({MATRIX: None}, 'layers.3.attn.proj.weight missing for'),
        ({'layers__11__ffn__layers__1__bias': torch.ones(3)}, r'bias \(3,\) for \(192,\)'),
        ({'layers__13__ln1__weight': torch.ones(192)}, 'layers.12.ln1.weight missing for'),
        ({'cls_token': torch.ones(1, 1, 64)}, r'cls_token \(1, 1, 64\) for \(1, 1, 192\)'),
        ({'pos_embed': torch.ones(17, 192)}, 'pos_embed missing'),
    ],
    ids=['nan', 'integers', 'zeros', 'shape', 'missing', 'bias', 'a gap', 'token', 'flat'],
)
def test_an_encoder_that_is_none_is_refused(encoder, tmp_path, layout, out, changes, words):
    path = changed(encoder, tmp_path / 'epoch_1.pth', **changes)
    with pytest.raises(CheckpointError, match=f'{path}.*{words}'):
        export(path, layout, tmp_path / out)
    assert [p.name for p in tmp_path.iterdir()] == ['epoch_1.pth']


def test_one_without_a_bias_of_query_key_and_value_is_taken(encoder, tmp_path):
    without = {f'layers__{i}__attn__qkv__bias': None for i in range(12)}
    path = changed(encoder, tmp_path / 'epoch_1.pth', **without)
    out = export(path, 'huggingface', tmp_path / 'vit')
    assert json.loads((out / 'config.json').read_text())['qkv_bias'] is False


@pytest.mark.parametrize('num_heads', [-2, 0, 7])
def test_heads_that_none_can_be_are_refused(checkpoint, tmp_path, num_heads):
    with pytest.raises(ConfigError, match=f'{num_heads} heads do not divide a width of 192'):
        export(checkpoint, 'huggingface', tmp_path / 'vit', num_heads=num_heads)
    assert not list(tmp_path.iterdir())


def test_heads_that_no_layout_states_are_refused(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match='--num-heads 3: the layout timm states none'):
        export(checkpoint, 'timm', tmp_path / 'vit.safetensors', num_heads=3)


@pytest.mark.parametrize('how', ['itself', 'a link to it', 'a hard link', 'another spelling'])
def test_a_checkpoint_is_not_replaced_by_its_export(encoder, tmp_path, how):
    path = changed(encoder, tmp_path / 'a.pth')
    out = tmp_path / 'b.pth'
    match how:
        case 'itself':
            out = path
        case 'a link to it':
            out.symlink_to(path)
        case 'a hard link':
            out.hardlink_to(path)
        case 'another spelling':
            out = tmp_path / '..' / tmp_path.name / 'a.pth'
    before = path.read_bytes()
    with pytest.raises(ConfigError, match='is the checkpoint itself: name another file'):
        export(path, 'mmpretrain', out)
    assert path.read_bytes() == before


def test_nor_is_one_in_hugging_faces_folder(checkpoint, tmp_path):
    out = tmp_path / 'vit'
    out.mkdir()
    path = export(checkpoint, 'timm', out / 'model.safetensors')
    before = path.read_bytes()
    with pytest.raises(ConfigError, match='is the checkpoint itself'):
        export(path, 'huggingface', out)
    assert path.read_bytes() == before


@pytest.mark.parametrize('layout, out', LAYOUTS)
def test_an_export_that_fails_leaves_the_earlier_one(
    encoder, checkpoint, tmp_path, monkeypatch, layout, out
):
    def full(state, draft, **_):
        Path(draft).write_bytes(b'half')
        raise OSError(28, 'No space left on device')

    def content():
        return {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}

    export(checkpoint, layout, tmp_path / out)
    before = content()
    monkeypatch.setattr(module, 'save_file', full)
    monkeypatch.setattr(module.torch, 'save', full)
    with pytest.raises(OutputError, match='cannot be written .No space left'):
        export(checkpoint, layout, tmp_path / out)
    assert content() == before


def test_an_earlier_config_never_describes_new_weights(checkpoint, tmp_path, monkeypatch):
    """Killed between its two files, an export leaves weights that transformers does not load."""

    def killed(*_):
        raise KeyboardInterrupt

    out = export(checkpoint, 'huggingface', tmp_path / 'vit')
    monkeypatch.setattr(module, 'write_whole', killed)
    with pytest.raises(KeyboardInterrupt):
        export(checkpoint, 'huggingface', out, num_heads=6)
    assert [p.name for p in out.iterdir()] == ['model.safetensors']


@pytest.mark.parametrize('layout, out', LAYOUTS)
def test_an_export_to_where_none_can_be_is_one_line(checkpoint, tmp_path, layout, out):
    """A folder in the file's place, or a file in the folder's."""
    place = tmp_path / out
    place.touch() if layout == 'huggingface' else place.mkdir()
    with pytest.raises(OutputError, match=f'{place}.* cannot be written') as caught:
        export(checkpoint, layout, place)
    assert str(caught.value).isprintable()


def test_the_tool_says_where_it_wrote(checkpoint, tmp_path):
    command = [sys.executable, str(ROOT / 'tools/checkpoints/export.py'), str(checkpoint)]
    done = subprocess.run(
        [*command, '--to', 'timm', '--out', str(tmp_path / 'vit.safetensors')],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert 'for timm' in done.stdout and (tmp_path / 'vit.safetensors').is_file()
