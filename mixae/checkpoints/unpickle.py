"""Checkpoints unpickled as tensors and plain data.

``torch.load(weights_only=True)`` calls nothing but what is on a list. For files of others that list
is too long: ``torch.FloatTensor(6)`` shows six numbers of this process's memory, and what NumPy's
dtypes, NumPy's arrays and mmengine's history buffers are told of themselves is believed. Around it:

1. The names in the pickle are compared with a shorter list before anything is unpickled.
2. What is NumPy's or mmengine's is unpickled as a stand-in, which only keeps its arguments.
3. The result is copied. Every type in it is known, arrays and scalars are made anew of numeric
   bytes of the right length, and no tensor has more values than its storage.
"""

import argparse
import io
import math
import pickletools
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor, nn

NUMERIC = ('b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8', 'c8', 'c16')


class _Dtype:
    """In place of ``numpy.dtype``: a numeric type and its byte order."""

    def __init__(self, name: str, align: bool = False, copy: bool = True) -> None:
        if name not in NUMERIC:
            raise ValueError(f'NumPy values of the type {name!r}')
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        _, order, *rest = state
        if order not in ('<', '>', '|') or rest != [None, None, None, -1, -1, 0]:
            raise ValueError('NumPy values of a structured type')
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """In place of ``numpy.ndarray`` and of the function that makes an empty one."""

    def __init__(self, *_) -> None:
        self.state = None

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def build(self) -> np.ndarray:
        _, shape, dtype, is_fortran, content = self.state
        if not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f'an array of the shape {shape}')
        values = _values(dtype, content, math.prod(shape))
        return values.reshape(shape, order='F' if is_fortran else 'C').copy('K')


class _History:
    """In place of mmengine's ``HistoryBuffer``. Its statistics are methods: it has them already."""

    def __setstate__(self, state: dict) -> None:
        self.state = state

    def build(self) -> HistoryBuffer:
        values, counts = (self.state[f'_{name}_history'].build() for name in ('log', 'count'))
        max_length = self.state['max_length']
        if values.ndim != 1 or values.shape != counts.shape or type(max_length) is not int:
            raise ValueError('a history without a count for each value')
        return HistoryBuffer(values, counts, max_length)


def _values(dtype: _Dtype, content: bytes, count: int) -> np.ndarray:
    """``count`` numbers from exactly their bytes, (count,), read-only."""
    if type(dtype) is not _Dtype or type(content) is not bytes:
        raise ValueError('NumPy values that are none')
    if len(content) != count * dtype.dtype.itemsize:
        raise ValueError(f'{count} NumPy values of {dtype.dtype} in {len(content)} bytes')
    return np.frombuffer(content, dtype.dtype, count)


def _scalar(dtype: _Dtype, content: bytes) -> np.generic:
    return _values(dtype, content, 1)[0]


def _statistic(owner: type, name: str) -> str:
    """In place of ``getattr``, with which a history buffer's statistics are pickled."""
    return name


def _no_bytes() -> bytes:
    """In place of ``bytes``, as which an empty array's content is pickled."""
    return b''


STAND_INS = {
    'argparse.Namespace': argparse.Namespace,  # the arguments of MAE's and timm's scripts
    'builtins.bytes': _no_bytes,
    'builtins.getattr': _statistic,
    'mmengine.logging.history_buffer.HistoryBuffer': _History,
    'numpy.dtype': _Dtype,
    'numpy.ndarray': _Array,
    'numpy._core.multiarray._reconstruct': _Array,
    'numpy._core.multiarray.scalar': _scalar,
    'numpy.core.multiarray._reconstruct': _Array,  # of NumPy 1
    'numpy.core.multiarray.scalar': _scalar,
}
_STORAGES = 'Float Double Half BFloat16 Long Int Short Char Byte Bool ComplexFloat ComplexDouble'
# Of what torch's list has: dense tensors, and plain data.
NAMES = {
    *STAND_INS,
    '_codecs.encode',
    'builtins.complex',
    'builtins.set',
    'collections.Counter',
    'collections.OrderedDict',
    'torch.Size',
    'torch.device',
    'torch._utils._rebuild_parameter',
    'torch._utils._rebuild_tensor',
    'torch._utils._rebuild_tensor_v2',
    *(f'torch.{kind}Storage' for kind in _STORAGES.split()),
}


def unpickle(path: Path, map_location: str):
    """The content of a ``.pth`` file.

    Raises:
        Exception: Of many types, by torch and NumPy; ValueError by what is refused here.
    """
    foreign = sorted(names(path) - NAMES)
    if foreign:
        raise ValueError(f'it holds {", ".join(foreign[:3])}')
    stand_ins = [(stand_in, name) for name, stand_in in STAND_INS.items()]
    with torch.serialization.safe_globals(stand_ins):
        return _Copy()(torch.load(path, map_location=map_location, weights_only=True))


def is_archive(path: Path) -> bool:
    """Whether torch reads a file as a zip archive, as it writes them since version 1.6."""
    with open(path, 'rb') as file:
        return file.read(4) == b'PK\3\4'


def names(path: Path) -> set[str]:
    """The classes and functions that a file names, by their full names."""
    if is_archive(path):
        # By torch's own reader: of a crafted archive, another might find another pickle.
        archive = torch._C.PyTorchFileReader(str(path))
        return _names_of(io.BytesIO(archive.get_record('data.pkl')))
    with open(path, 'rb') as file:  # magic number, version, system, content, storages
        return set().union(*(_names_of(file) for _ in range(5)))


def _names_of(stream: io.BufferedIOBase) -> set[str]:
    # torch knows no other opcode that names something.
    return {
        name.replace('__builtin__ ', 'builtins ').replace(' ', '.')
        for opcode, name, _ in pickletools.genops(stream)
        if opcode.name == 'GLOBAL'
    }


class _Copy:
    """Copies nested plain data, and builds what stands in; what is shared stays shared."""

    ATOMS = (type(None), bool, int, float, complex, str, bytes, torch.Size, torch.device)

    def __init__(self) -> None:
        self.done = {}

    def __call__(self, value):
        if type(value) in self.ATOMS or isinstance(value, np.generic):
            return value
        if id(value) not in self.done:
            self.done[id(value)] = self.copy(value)
        return self.done[id(value)]

    def copy(self, value):
        kind = type(value)
        if kind in (Tensor, nn.Parameter):
            held = value.untyped_storage().nbytes() // value.element_size()
            if value.numel() > held:
                raise ValueError(f'a tensor of {value.numel()} values holds {held}')
            return value.detach()
        if kind in (_Array, _History):
            return value.build()
        if kind is argparse.Namespace:
            return kind(**self(vars(value)))
        if kind in (list, tuple, set):
            return kind([self(item) for item in value])
        if kind not in (dict, OrderedDict, Counter):
            raise ValueError(f'it holds a {kind.__name__}')
        if not all(type(key) in self.ATOMS for key in value):
            raise ValueError('it holds a key that is no plain value')
        copied = kind({key: self(item) for key, item in dict.items(value)})
        if kind is OrderedDict and type(vars(value).get('_metadata')) in (dict, OrderedDict):
            copied._metadata = _versions(vars(value)['_metadata'])
        return copied


def _versions(metadata: dict) -> OrderedDict:
    """What a module's ``state_dict`` notes beside its tensors: the versions of its parts."""
    return OrderedDict(
        (name, dict(version=told['version']))
        for name, told in dict.items(metadata)
        if type(told) is dict and type(told.get('version')) is int
    )
