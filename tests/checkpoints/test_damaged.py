"""Damaged checkpoints: each is refused in one line that names the file."""

import errno
import random
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mixae.checkpoints.load import encoder_state, load_encoder, load_weights
from mixae.checkpoints.read import check_whole, read_checkpoint
from mixae.checkpoints.resume import check_resumable
from mixae.errors import CheckpointError
from mixae.models import MaskedViT
from tests.checkpoints.crafted import parts_of, read_flipped, write_parts

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


def vit():
    return MaskedViT(ARCH, img_size=32, patch_size=8)


@pytest.fixture(scope='module')
def content():
    """As pre-training saves it."""
    torch.manual_seed(0)
    state = OrderedDict((f'backbone.{k}', v) for k, v in vit().state_dict().items())
    return dict(
        state_dict=state,
        meta=dict(epoch=1, iter=3, seed=0),
        message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}),
        optimizer=dict(state={}, param_groups=[dict(params=[0])]),
        param_schedulers=[dict(last_step=3)],
        mixae=dict(method='mae', epochs=1),
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'epoch_1.pth'


def refused(path, read=read_checkpoint) -> str:
    """The line that refuses a file."""
    with pytest.raises(CheckpointError) as caught:
        read(path)
    line = str(caught.value)
    assert str(path) in line and line.isprintable() and len(line) < 1000
    return line


# Kinds of damage.


def save(content, **changes):
    return lambda path: torch.save(content | changes, path)


def one(content, **changes):
    """With one weight changed."""
    key = 'backbone.layers.0.attn.qkv.weight'
    return save(content, state_dict=content['state_dict'] | {key: changes['weight']})


def parts(content, change, **options):
    return lambda path: write_parts(path, change(parts_of(content)), **options)


def loop(path):
    path.symlink_to(path)


ZEROS = torch.zeros(48, 16)
DAMAGE = {
    'state None': (lambda c: save(c, state_dict=None), 'state_dict is a NoneType'),
    'state a list': (lambda c: save(c, state_dict=[1]), 'state_dict is a list'),
    'state empty': (lambda c: save(c, state_dict={}), 'state_dict is empty'),
    'keys no strings': (lambda c: save(c, state_dict={3: ZEROS}), 'name is 3'),
    'keys with escapes': (lambda c: save(c, state_dict={'a\x1b[2J': ZEROS}), r"name is 'a\\x1b"),
    'values no tensors': (lambda c: save(c, state_dict=dict(w=[1.0])), 'w is a list'),
    'account None': (lambda c: save(c, mixae=None), "None is not of type 'object'"),
    'list for dict': (lambda c: lambda p: torch.save([1], p), 'holds a list'),
    'tensor for dict': (lambda c: lambda p: torch.save(ZEROS, p), 'holds a Tensor'),
    'cut': (lambda c: lambda p: p.write_bytes(_bytes(c)[:-2000]), 'truncated'),
    'cut to its head': (lambda c: lambda p: p.write_bytes(_bytes(c)[:4]), 'truncated'),
    'empty': (lambda c: lambda p: p.touch(), 'truncated'),
    'zeros': (lambda c: lambda p: p.write_bytes(bytes(10_000)), 'truncated'),
    'text': (lambda c: lambda p: p.write_text('<!DOCTYPE html>\n'), 'truncated'),
    'folder': (lambda c: lambda p: p.mkdir(), 'is a folder'),
    'link to itself': (lambda c: loop, 'no checkpoint'),
    'link to nothing': (lambda c: lambda p: p.symlink_to('nothing'), 'no checkpoint'),
    'zip without data': (lambda c: parts(c, lambda p: {'readme.txt': b'x'}), 'truncated'),
    'zip of nothing': (lambda c: parts(c, lambda p: {}), 'truncated'),
    'zip with two pickles': (
        lambda c: parts(c, lambda p: p | {'DATA.PKL': p['data.pkl']}),
        'there twice',
    ),
    'zip without tensors': (
        lambda c: parts(c, lambda p: {k: v for k, v in p.items() if 'data/' not in k}),
        'truncated',
    ),
    'zip compressed': (
        lambda c: parts(c, lambda p: p, compression=zipfile.ZIP_DEFLATED),
        'compressed',
    ),
    'sparse': (lambda c: one(c, weight=ZEROS.to_sparse()), '_rebuild_sparse_tensor'),
    'meta': (lambda c: one(c, weight=ZEROS.to('meta')), '_rebuild_meta_tensor'),
    'quantised': (
        lambda c: one(c, weight=torch.quantize_per_tensor(ZEROS, 1, 0, torch.qint8)),
        '_rebuild_qtensor',
    ),
    'a huge view': (
        lambda c: one(c, weight=torch.zeros(1).expand(10**12)),
        '1000000000000 values holds 1',
    ),
}


def _bytes(content) -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize('kind', DAMAGE)
def test_a_damaged_checkpoint_is_one_line(kind, content, path):
    damage, words = DAMAGE[kind]
    damage(content)(path)
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(path)
    refused(path)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_so_is_one_without_permission(content, tmp_path, monkeypatch, suffix):
    """By a stand-in: who tests as root may read everything."""
    path = tmp_path / f'w{suffix}'
    path.touch()

    def forbidden(*_, **__):
        raise PermissionError(errno.EACCES, 'Permission denied', str(path))

    monkeypatch.setattr('builtins.open', forbidden)
    monkeypatch.setattr('safetensors.torch.load_file', forbidden)
    assert 'Permission denied' in refused(path)


@pytest.mark.parametrize(
    'damage',
    [
        lambda b: b[:-5],
        lambda b: b[:4],
        lambda b: b'',
        lambda b: bytes(8) + b[8:],
        lambda b: b'\xff' * 7 + b[7:],
        lambda b: b.replace(b'F32', b'F99'),
        lambda b: b.replace(b'"shape":[3]', b'"shape":[9]'),
    ],
)
def test_damaged_safetensors_are_one_line(tmp_path, damage):
    path = tmp_path / 'w.safetensors'
    save_file({'backbone.w': torch.arange(3.0)}, path)
    path.write_bytes(damage(path.read_bytes()))
    refused(path)


# A flipped bit.


def data_of(path) -> list[tuple[int, int]]:
    """Where the tensors' bytes are in a file: offsets and sizes."""
    found = []
    with zipfile.ZipFile(path) as archive, open(path, 'rb') as file:
        for entry in archive.infolist():
            if '/data/' not in entry.filename:
                continue
            file.seek(entry.header_offset + 26)
            name, extra = (int.from_bytes(file.read(2), 'little') for _ in range(2))
            found.append((entry.header_offset + 30 + name + extra, entry.file_size))
    return found


def test_a_flipped_bit_in_a_tensor_is_noticed(content, path):
    torch.save(content, path)
    whole, rng = path.read_bytes(), random.Random(0)
    places = data_of(path)
    assert sum(size for _, size in places) == sum(v.nbytes for v in content['state_dict'].values())
    for _ in range(50):
        (start, size), bit = rng.choice(places), 1 << rng.randrange(8)
        damaged = bytearray(whole)
        damaged[start + rng.randrange(size)] ^= bit
        path.write_bytes(damaged)
        assert 'is damaged: the checksum of' in refused(path)
        torch.load(path, weights_only=True)  # which does not notice
    path.write_bytes(whole)
    read_checkpoint(path)


def test_so_is_one_anywhere_else(content, path):
    """Or it does not matter, as in the space between parts: then what is read is the same."""
    assert read_flipped(path, content, range(100))['refused'] > 60


def test_a_file_without_checksums_is_read(content, path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(content, path)
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is not None  # there are none, not by chance the right ones
    check_whole(path)
    assert read_checkpoint(path)['meta'] == content['meta']


def test_a_file_of_old_torch_is_read(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)
    found = read_checkpoint(path)
    assert found['meta'] == content['meta']
    assert found['state_dict'].keys() == content['state_dict'].keys()


# Weights that are none.

MATRIX = 'layers.0.attn.qkv.weight'


def changed(content, change) -> dict:
    return content | dict(state_dict={k: change(k, v) for k, v in content['state_dict'].items()})


@pytest.mark.parametrize(
    'change, words',
    [
        (lambda k, v: (100 * v).long(), 'patch_embed.* are no floating-point numbers'),
        (lambda k, v: v.bool(), 'are no floating-point numbers'),
        (lambda k, v: v.to(torch.complex64), 'are no floating-point numbers'),
        (lambda k, v: torch.zeros_like(v), r'projection.weight, .* are nothing but zeros'),
        (lambda k, v: v * 0 if MATRIX in k else v, rf'{MATRIX} \(1 of \d+.* nothing but zeros'),
        (lambda k, v: v / 0, 'are not finite'),
        (lambda k, v: v * torch.nan if k.endswith('cls_token') else v, 'cls_token .* not finite'),
    ],
    ids=['integers', 'bools', 'complex', 'zeros', 'a zero layer', 'infinite', 'nan'],
)
@pytest.mark.parametrize('loader', ['encoder', 'model'])
def test_weights_that_are_none_are_not_loaded(content, path, change, words, loader):
    torch.save(changed(content, change), path)
    if loader == 'encoder':
        model, load = vit(), load_encoder
    else:
        model, load = torch.nn.ModuleDict(dict(backbone=vit())), load_weights
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=f'{path} is no trained model: .*{words}'):
        load(model, path)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize('shape', [(), (1,), (16,), (48, 16, 1), (0, 16)])
@pytest.mark.parametrize('key', [MATRIX, 'pos_embed', 'cls_token', 'patch_embed.projection.weight'])
def test_weights_of_another_shape_are_not_loaded(content, path, key, shape):
    state = content['state_dict'] | {f'backbone.{key}': torch.ones(shape)}
    torch.save(dict(state_dict=state), path)
    words = f'1 keys of another shape: {key}: {shape} in the checkpoint'
    assert words in refused(path, lambda path: load_encoder(vit(), path))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_floating_point_numbers_of_any_size_are_loaded(content, path, dtype):
    torch.save(changed(content, lambda k, v: v.to(dtype)), path)
    model = vit()
    load_encoder(model, path)
    expected = content['state_dict']['backbone.' + MATRIX].to(dtype).float()
    assert torch.equal(model.state_dict()[MATRIX], expected)


def test_counts_of_a_model_may_be_integers_and_zero(path):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    torch.save(dict(state_dict=model.state_dict(), meta=dict(epoch=3)), path)
    assert load_weights(model, path) == dict(meta=dict(epoch=3))


def test_a_whole_model_that_does_not_fit_is_one_line(content, path):
    torch.save(content, path)
    line = refused(path, lambda path: load_weights(torch.nn.Linear(2, 2), path))
    assert 'does not fit Linear' in line and 'Missing key' in line


# What a run resumes from.


@pytest.mark.parametrize(
    'changes, words',
    [
        (dict(meta=None), 'meta.epoch, meta.iter missing'),
        (dict(meta=[]), 'meta.epoch, meta.iter missing'),
        (dict(meta=dict(epoch=1)), 'meta.iter missing'),
        (dict(meta=dict(epoch='1', iter=3)), 'meta.epoch missing'),
        (dict(meta=dict(epoch=1, iter=-3)), 'meta.iter missing'),
        (dict(meta=dict(epoch=True, iter=3)), 'meta.epoch missing'),
        (dict(meta=dict(epoch=1, iter=3, seed='x')), 'meta.seed missing'),
        (dict(message_hub=None), 'message_hub missing'),
        (dict(message_hub=dict(log_scalars={})), 'message_hub missing'),
        (dict(optimizer=None), 'optimizer missing'),
        (dict(optimizer={}), 'optimizer missing'),
        (dict(optimizer=dict(param_groups=[])), 'optimizer missing'),
        (dict(optimizer=dict(state={}, param_groups=[{}])), 'optimizer missing'),
        (dict(optimizer=dict(state={}, param_groups=3)), 'optimizer missing'),
        (dict(optimizer=dict(one=3)), 'optimizer missing'),
        (dict(param_schedulers=3), 'param_schedulers missing'),
        (dict(param_schedulers=[3]), 'param_schedulers missing'),
        (dict(param_schedulers=dict(one=3)), 'param_schedulers missing'),
    ],
)
def test_what_cannot_be_resumed_says_what_it_lacks(content, path, changes, words):
    torch.save(content | changes, path)
    checkpoint = read_checkpoint(path)
    assert f'cannot be resumed: {words}' in refused(path, lambda p: check_resumable(checkpoint, p))


def test_bare_weights_cannot_be_resumed(content, path):
    torch.save(dict(content['state_dict']), path)
    checkpoint = read_checkpoint(path)
    line = refused(path, lambda path: check_resumable(checkpoint, path))
    assert 'meta.epoch, meta.iter, message_hub, optimizer missing' in line


def test_a_whole_checkpoint_can_be_resumed(content, path):
    torch.save(content, path)
    check_resumable(read_checkpoint(path), path)
    several = dict(
        optimizer=dict(one=content['optimizer'], other=content['optimizer']),
        param_schedulers=dict(one=content['param_schedulers'], other=[]),
    )
    check_resumable(content | several, path)


def test_the_text_of_a_config_is_dropped(content, path):
    """mmengine's Runner would execute it."""
    torch.save(content | dict(meta=content['meta'] | dict(config='boom()', cfg='a = 1')), path)
    assert read_checkpoint(path)['meta'] == content['meta'] | dict(cfg='a = 1')


def test_the_path_may_be_text(content, path):
    torch.save(content, path)
    assert encoder_state(read_checkpoint(str(path)), Path(path))
