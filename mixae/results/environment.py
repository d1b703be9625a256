"""What a record says of the machine, without a path of that machine."""

import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from mixae.files import ROOT

_PACKAGES = {
    'mixae': ('mixae',),
    'mmengine': ('onedl-mmengine', 'mmengine'),
    'mmcv': ('onedl-mmcv', 'mmcv'),
    'mmpretrain': ('onedl-mmpretrain', 'mmpretrain'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
    'mmseg': ('onedl-mmsegmentation', 'mmsegmentation'),
    'torch': ('torch',),
    'torchvision': ('torchvision',),
    'numpy': ('numpy',),
    'scikit-learn': ('scikit-learn',),
    'timm': ('timm',),
}
# Absolute paths within a text. They begin with what is rare in a text, which makes them quick.
_POSIX = re.compile(r'/(?<![\w/.~)\]]/)[\w.@%+~-]+(?:/[\w.@%+~-]+)+/?')
_WINDOWS = re.compile(r'\b[A-Za-z]:\\[^\s\'"]+')


def portable(value, roots: Sequence[str | os.PathLike] = ()):
    """`value` as plain JSON without a path of this machine.

    Args:
        value: anything a record may hold; paths, NumPy and torch scalars, tuples and mappings are
            turned into JSON's types.
        roots: folders that paths are written relative to, tried in turn before the current folder
            and the checkout. A path under none of them keeps its last component only.
    """
    bases = [Path(root).absolute() for root in (*roots, Path.cwd(), ROOT)]
    if isinstance(value, os.PathLike):
        path = Path(value)
        return _relative(str(path), bases) if path.is_absolute() else path.as_posix()
    if isinstance(value, str):
        if _is_one_path(value):
            return _relative(value, bases)
        value = _POSIX.sub(lambda found: _relative(found.group(), bases), value)
        return _WINDOWS.sub(lambda found: _relative(found.group(), bases), value)
    if isinstance(value, Mapping):
        return {str(key): portable(item, roots) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [portable(item, roots) for item in value]
    if hasattr(value, 'tolist'):  # NumPy and torch, scalars and arrays
        return value.tolist()
    return value


def _relative(path: str, bases: Sequence[Path]) -> str:
    if re.match(r'[A-Za-z]:\\', path):
        return path.rstrip('\\').rsplit('\\', 1)[-1]
    for base in bases:
        if Path(path).is_relative_to(base):
            return Path(path).relative_to(base).as_posix()
    return Path(path).name or '.'


def _is_one_path(text: str) -> bool:
    return len(text) > 1 and text.startswith('/') and '\n' not in text


def is_machine_path(text: str) -> bool:
    """Whether a text is, or holds, an absolute path."""
    found = _POSIX.search(text) or (':\\' in text and _WINDOWS.search(text))
    return _is_one_path(text) or bool(found)


def collect_environment() -> dict:
    """What a record says about the machine: `{'versions': .., 'device': .., 'commit': ..}`.

    `versions` holds Python and every installed package that can change a number, `device` the
    accelerator (or the CPU) with the number of processes, `commit` the checkout's commit and
    whether tracked files differ from it (both None where the package is not in a git checkout).
    """
    versions = {'python': platform.python_version()}
    for name, distributions in _PACKAGES.items():
        for distribution in distributions:
            try:
                versions[name] = importlib.metadata.version(distribution)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return dict(versions=versions, device=_device(), commit=_commit())


def _device() -> dict:
    import torch  # here: reading records and building tables must not wait for torch

    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    else:
        name = f'CPU: {_cpu_name()}'
    return dict(
        name=name,
        count=torch.distributed.get_world_size() if distributed else 1,
        cpu_threads=torch.get_num_threads(),
    )


def _cpu_name() -> str:
    try:
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> dict:
    def git(*arguments):
        return subprocess.run(
            ['git', '-C', str(ROOT), *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        # A package installed into some other project's checkout is not described by that commit.
        if Path(git('rev-parse', '--show-toplevel')).resolve() != ROOT:
            return dict(hash=None, dirty=None)
        changes = git('status', '--porcelain', '--untracked-files=no')
        return dict(hash=git('rev-parse', 'HEAD'), dirty=bool(changes))
    except (OSError, subprocess.CalledProcessError):
        return dict(hash=None, dirty=None)
