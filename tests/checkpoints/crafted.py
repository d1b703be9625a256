"""Checkpoints as an attacker or a failing disk would make them."""

import argparse
import io
import random
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import MessageHub

from mixae.checkpoints.read import read_checkpoint
from mixae.errors import CheckpointError

PREFIX = 'archive'


class Call:
    """Unpickling it calls ``function(*arguments)`` and gives the result that state."""

    def __init__(self, function, *arguments, state=None) -> None:
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def parts_of(content) -> dict[str, bytes]:
    """The parts of the archive that torch would write, by their names in it."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {name.split('/', 1)[1]: archive.read(name) for name in archive.namelist()}


def write_parts(path: Path, parts: dict[str, bytes], **options) -> Path:
    """An archive of these parts with fitting checksums, as no accident leaves it."""
    with zipfile.ZipFile(path, 'w', **options) as archive:
        for name, content in parts.items():
            archive.writestr(f'{PREFIX}/{name}', content)
    return path


def mutate(pickle: bytes, rng: random.Random) -> bytes:
    """A pickle with one to eight bytes changed, moved, doubled or lost."""
    content = bytearray(pickle)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(content))
        match rng.randrange(5):
            case 0:
                content[at] = rng.randrange(256)
            case 1:
                content[at] ^= 1 << rng.randrange(8)
            case 2:
                del content[at : at + rng.randint(1, 6)]
            case 3:
                content[at:at] = content[at : at + rng.randint(1, 40)]
            case 4:  # one opcode for another
                content[at] = rng.choice(b'.(0RbQcth]}\x85\x86\x87JKMNGsuae\x81\x88\x89')
    return bytes(content)


def read_mutated(path: Path, seeds: Iterable[int]) -> Counter:
    """Read a checkpoint of all that one may hold with a mutated pickle, a seed each.

    Each is read as tensors or refused in one line that names the file, whatever it has become. The
    checksums fit, so that it is the unpickling that is tried.
    """
    hub = MessageHub('mutated')
    hub.update_scalar('loss', 1.5)
    parts = parts_of(
        dict(
            state_dict=torch.nn.BatchNorm1d(3).state_dict(),
            meta=dict(epoch=1, iter=3, cfg='a = 1'),
            message_hub=hub.state_dict(),
            param_schedulers=[dict(milestones=Counter([1, 2]), last=np.float64(0.1))],
            args=argparse.Namespace(lr=np.arange(3)),
        )
    )
    outcomes = Counter()
    for seed in seeds:
        pickle = mutate(parts['data.pkl'], random.Random(seed))
        write_parts(path, parts | {'data.pkl': pickle})
        try:
            found = read_checkpoint(path)
        except CheckpointError as error:
            message = str(error)
            assert str(path) in message and message.isprintable() and len(message) < 1000, seed
            outcomes['refused'] += 1
        else:
            assert all(isinstance(v, torch.Tensor) for v in found['state_dict'].values()), seed
            outcomes['read'] += 1
    return outcomes


def read_flipped(path: Path, content: dict, seeds: Iterable[int]) -> Counter:
    """Read a checkpoint with one flipped bit anywhere in its file, a seed each.

    It is refused in one line that names the file, or its weights and its account are as they were:
    there are bits that nothing depends on, such as those between the parts.
    """
    torch.save(content, path)
    whole, outcomes = path.read_bytes(), Counter()
    for seed in seeds:
        rng, damaged = random.Random(seed), bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            found = read_checkpoint(path)
        except CheckpointError as error:
            assert str(path) in str(error) and str(error).isprintable(), seed
            outcomes['refused'] += 1
            continue
        assert {k: v for k, v in found.items() if k != 'state_dict'} == {
            k: v for k, v in content.items() if k != 'state_dict'
        }, seed
        assert found['state_dict'].keys() == content['state_dict'].keys(), seed
        for key, value in content['state_dict'].items():
            assert torch.equal(found['state_dict'][key], value), (seed, key)
        outcomes['read as it was'] += 1
    return outcomes
