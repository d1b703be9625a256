"""Checkpoints are plain data: what they may name, and what is made of it."""

import argparse
import codecs
import collections
import random
import warnings
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from mixae.checkpoints.read import read_checkpoint
from mixae.checkpoints.unpickle import names
from mixae.errors import CheckpointError
from tests.checkpoints.crafted import Call, parts_of, read_mutated, write_parts

RECONSTRUCT = np._core.multiarray._reconstruct
SCALAR = np._core.multiarray.scalar
PLAIN = (3, '<', None, None, None, -1, -1, 0)  # the state of a numeric dtype


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'epoch_1.pth'


def read(path, value):
    torch.save(dict(state_dict=dict(w=torch.ones(2)), value=value), path)
    return read_checkpoint(path)['value']


def dtype(name, state=PLAIN):
    return Call(np.dtype, name, False, True, state=state)


def array(shape, kind, content, version=1, is_fortran=False):
    state = (version, shape, kind, is_fortran, content)
    return Call(RECONSTRUCT, np.ndarray, (0,), b'b', state=state)


# What checkpoints hold.


@pytest.mark.parametrize(
    'value',
    [
        np.arange(6).reshape(2, 3),
        np.arange(6.0).reshape(2, 3).T,
        np.zeros((0, 4), np.float32),
        np.array(3.5),
        np.array([True, False]),
        np.arange(3, dtype='>i4'),
        np.array([1 + 2j], np.complex64),
        np.random.get_state()[1],
    ],
    ids=lambda value: f'{value.dtype.str}{value.shape}',
)
def test_arrays_are_rebuilt(path, value):
    found = read(path, value)
    assert type(found) is np.ndarray and found.dtype == value.dtype and found.flags.writeable
    np.testing.assert_array_equal(found, value)
    assert found.flags.f_contiguous == value.flags.f_contiguous


@pytest.mark.parametrize('value', [np.float32(0.1), np.float64(0.1), np.int64(-3), np.bool_(True)])
def test_scalars_are_rebuilt(path, value):
    found = read(path, value)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    'value',
    [
        [1, 2.5, None, True, 'ä', b'\xff', 2**200, complex(1, 2)],
        dict(a=(1, (2, [3])), b={1, 2}, c=torch.Size([2, 3]), d=torch.device('cpu')),
        OrderedDict(b=1, a=2),
        Counter({30: 1, 60: 1}),  # milestones of a schedule
        argparse.Namespace(lr=1e-3, betas=(0.9, 0.95)),
        random.Random(3).getstate(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_data_is_as_it_was(path, value):
    found = read(path, value)
    assert found == value and type(found) is type(value)


def test_tensors_of_every_kind_are_as_they_were(path):
    weights = torch.randn(4, 6)
    tensors = dict(
        parameter=torch.nn.Parameter(weights),
        transposed=weights.T,
        part=weights[1:3, ::2],
        random_state=torch.get_rng_state(),
        **{str(t): torch.ones(2, dtype=t) for t in (torch.bfloat16, torch.bool, torch.int8)},
    )
    found = read(path, tensors)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype
    assert not found['parameter'].requires_grad


def test_the_versions_of_a_states_modules_are_kept(path):
    state = torch.nn.BatchNorm1d(2).state_dict()
    assert read(path, state)._metadata == {'': {'version': 2}} == dict(state._metadata)


def test_the_history_of_a_log_is_rebuilt(path):
    hub = MessageHub('test_unpickle')
    hub.update_scalar('loss', 1.5)
    hub.update_scalar('loss', torch.tensor(0.5))
    hub.update_info('iter', np.float32(3))
    found = read(path, hub.state_dict())
    history = found['log_scalars']['loss']
    assert type(history) is HistoryBuffer and history.mean() == 1.0 and history.current() == 0.5
    assert found['runtime_info']['iter'] == 3


def test_an_empty_history_is_rebuilt(path):
    values, counts = read(path, HistoryBuffer()).data
    assert len(values) == len(counts) == 0


def test_what_was_shared_is_shared(path):
    shared = np.arange(3)
    found = read(path, [shared, shared])
    assert found[0] is found[1]


# What they may not.


STRING = (3, '<', None, None, None, 4_000_000, 4, 0)
FIELDS = (3, '<', None, ('x',), {'x': (np.dtype('f8'), 10**6)}, -1, -1, 0)
SUBARRAY = (3, '<', (np.dtype('f8'), (10**6,)), None, None, -1, -1, 0)


@pytest.mark.parametrize(
    'value',
    [
        Call(SCALAR, dtype('U1', STRING), b'abcd'),
        Call(SCALAR, dtype('S1', STRING), b'abcd'),
        Call(SCALAR, dtype('O8', (3, '|', None, None, None, -1, -1, 63)), b'12345678'),
        Call(SCALAR, dtype('V8', STRING), b'12345678'),
        Call(SCALAR, dtype('f8', FIELDS), b'12345678'),
        Call(SCALAR, dtype('f8', SUBARRAY), b'12345678'),
        Call(SCALAR, dtype('f8', (3, '<', None, None, None, 10**6, -1, 0)), b'12345678'),
        Call(SCALAR, dtype('f8'), b'1234567'),
        Call(SCALAR, dtype('f8'), b''),
        Call(SCALAR, dtype('f8'), 12345678),
        Call(SCALAR, 'f8', b'12345678'),
        array((2,), dtype('f8'), b'12345678'),
        array((10**9, 10**9), dtype('f8'), b''),
        array((2**62, 4), dtype('f8'), b''),
        array((-1,), dtype('f8'), b'12345678'),
        array((1,), dtype('U2', STRING), b'12345678'),
        array((1,), dtype('O8'), b'12345678'),
        array((1,), dtype('O8'), ['x']),
        array(1, dtype('f8'), b'12345678'),
        Call(np.ndarray, (10**3,)),
        Call(np.dtype, 'O'),
        Call(bytes, 10**12),
    ],
    ids=lambda value: type(value).__name__,
)
def test_crafted_numpy_values_are_refused(path, value):
    with pytest.raises(CheckpointError, match=f'{path} cannot be read') as caught:
        read(path, value)
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 1000


def rebuilt(*arguments):
    return Call(torch._utils._rebuild_tensor_v2, *arguments, False, OrderedDict())


with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # this is how tensors are pickled
    STORAGE = torch.arange(4.0).storage()
    NESTED = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


@pytest.mark.parametrize(
    'value',
    [
        rebuilt(STORAGE, 0, (8,), (1,)),
        rebuilt(STORAGE, 100, (2,), (1,)),
        rebuilt(STORAGE, -1, (2,), (1,)),
        rebuilt(STORAGE, 3, (2,), (-1,)),
        rebuilt(STORAGE, 0, (10**13,), (1,)),
        rebuilt(STORAGE, 0, (10**13,), (0,)),
        rebuilt(STORAGE, 0, (2**62, 4), (1, 1)),
        Call(torch.FloatTensor, 6),
        Call(torch.Tensor, 6),
        torch.ones(2).to_sparse(),
        torch.ones(2, device='meta'),
        torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        NESTED,
        STORAGE,
    ],
    ids=[
        *('too long', 'offset', 'negative offset', 'negative stride', 'huge', 'huge view'),
        *('overflow', 'memory', 'memory too', 'sparse', 'meta', 'quantised', 'nested', 'storage'),
    ],
)
def test_crafted_tensors_and_those_that_are_not_dense_are_refused(path, value):
    with pytest.raises(CheckpointError, match=f'{path} cannot be read'):
        read(path, value)


def test_the_memory_of_this_process_is_what_torch_alone_shows(path):
    """Why names are compared with a list shorter than torch's."""
    torch.save(Call(torch.FloatTensor, 6), path)
    assert torch.load(path, weights_only=True).shape == (6,)


HISTORY = dict(_log_history=np.ones(2), _count_history=np.ones(2), max_length=10)


@pytest.mark.parametrize(
    'state',
    [
        dict(HISTORY, statistics_methods=dict(mean=codecs.encode)),
        dict(HISTORY, mean=codecs.encode, _statistics_methods={}, max_length=3),
    ],
)
def test_a_history_keeps_its_own_methods(path, state):
    found = read(path, Call(HistoryBuffer, state=state))
    assert found.mean() == 1.0 and found.statistics('mean') == 1.0
    assert HistoryBuffer._statistics_methods['mean'] is HistoryBuffer.mean


@pytest.mark.parametrize(
    'change',
    [
        dict(_log_history=np.ones(3)),
        dict(_log_history=[1, 2]),
        dict(_log_history=np.ones((2, 2)), _count_history=np.ones((2, 2))),
        dict(max_length='long'),
    ],
)
def test_a_crafted_history_is_refused(path, change):
    with pytest.raises(CheckpointError, match=f'{path} cannot be read'):
        read(path, Call(HistoryBuffer, state=HISTORY | change))


def endless():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    'value',
    [codecs.encode, OrderedDict, np.dtype, argparse.Namespace, endless()],
    ids=['function', 'class', 'stand-in', 'namespace', 'endless'],
)
def test_what_is_no_plain_data_is_refused(path, value):
    with pytest.raises(CheckpointError, match=f'{path} cannot be read'):
        read(path, value)


def test_what_is_nested_without_an_end_is_refused(path):
    lists = 100_000
    write_parts(
        path, parts_of([]) | {'data.pkl': b'\x80\2' + b']' * lists + b'a' * (lists - 1) + b'.'}
    )
    with pytest.raises(CheckpointError, match=f'{path} cannot be read'):
        read_checkpoint(path)


def test_laughter_stays_small(path):
    """Forty lists of the one before, twice: 2^40 items where they are not shared."""
    value = ['ha']
    for _ in range(40):
        value = [value, value]
    found = read(path, value)
    assert found[0] is found[1]


def test_a_dicts_own_methods_are_not_the_files(path):
    crafted = Call(OrderedDict, state=dict(items=1, keys=2, _metadata=3))
    assert dict(read(path, crafted).items()) == {} and not vars(read(path, crafted))


@pytest.mark.parametrize('new_format', [True, False])
def test_the_names_in_a_file_are_found(path, new_format):
    torch.save(
        dict(w=torch.ones(2), x=Call(collections.Counter)),
        path,
        _use_new_zipfile_serialization=new_format,
    )
    assert names(path) == {
        *('collections.OrderedDict', 'collections.Counter', 'torch.FloatStorage'),
        'torch._utils._rebuild_tensor_v2',
    }


@pytest.mark.filterwarnings('ignore')
def test_mutated_pickles_are_read_or_refused(path):
    """200 of the 3,000 of tests/faults."""
    assert read_mutated(path, range(200))['refused'] > 60
