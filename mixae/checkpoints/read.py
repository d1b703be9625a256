"""Reading checkpoints without running code that they bring, and without believing damaged ones."""

import zipfile
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor, nn

from mixae.checkpoints.account_form import KEY, check_account
from mixae.checkpoints.unpickle import is_archive, unpickle
from mixae.errors import CheckpointError

CHUNK = 1 << 20  # bytes read at a time


def read_checkpoint(path: str | Path, map_location: str = 'cpu') -> dict:
    """Read a checkpoint without ever running code it brings.

    mmengine's loader retries with full unpickling when the safe load fails, and its Runner executes
    the text of a config that a checkpoint names; a hostile file then runs code. This one refuses
    the first, and drops the second.

    Args:
        path: A local ``.pth`` or ``.safetensors`` file.
        map_location: Where its tensors go.

    Returns:
        dict: The checkpoint; with ``state_dict`` also where the file holds bare weights.

    Raises:
        CheckpointError: No such file; one that is unreadable, truncated or damaged, that holds
            anything but tensors and plain data, or no weights at all; a malformed account of
            itself (:mod:`mixae.checkpoints.account_form`).
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f'{path} is a folder, not a checkpoint: name a file in it.')
    if not path.is_file():
        raise CheckpointError(f'There is no checkpoint at {path}.')
    if path.suffix == '.safetensors':
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            checkpoint = dict(state_dict=load_file(path, device=str(map_location)))
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f'{path} cannot be read as a checkpoint. ({_reason(error)})'
            ) from error
    else:
        checkpoint = _read_pickled(path, map_location)
    _check_state(checkpoint['state_dict'], path)
    if KEY in checkpoint:
        check_account(checkpoint[KEY], path)
    if isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)
    return checkpoint


def check_whole(path: str | Path) -> None:
    """Compare every byte of a ``.pth`` file with the checksums in it, which torch does not do.

    Files of torch before 1.6, and those saved with ``torch.serialization.set_crc32_options(False)``
    have none. It takes a second per GB.

    Raises:
        CheckpointError: A damaged file.
        zipfile.BadZipFile: A truncated one.
    """
    if not is_archive(path):
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        # As torch writes them: no part twice, none compressed, and so none larger than the file.
        if len({entry.filename.casefold() for entry in entries}) < len(entries):
            raise zipfile.BadZipFile('a part of it is there twice')
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise zipfile.BadZipFile('it is compressed')
        if sum(entry.file_size for entry in entries) > Path(path).stat().st_size:
            raise zipfile.BadZipFile('its parts are larger than the file')
        if not any(entry.CRC for entry in entries):
            return
        for entry in entries:
            try:
                with archive.open(entry) as file:
                    while file.read(CHUNK):
                        pass
            except zipfile.BadZipFile as error:
                raise CheckpointError(
                    f'{path} is damaged: the checksum of {entry.filename!a} in it is another. '
                    'Copy it again, or use an earlier checkpoint.'
                ) from error


def misfit(path: str | Path, model: nn.Module, error: RuntimeError) -> CheckpointError:
    """What torch says of a state that does not fit a model, as one line that says what to do."""
    lines = [' '.join(line.split()).rstrip('.') for line in str(error).splitlines() if line.strip()]
    return CheckpointError(
        f'{path} does not fit {type(model).__name__} as this config describes it. '
        f'{"; ".join(line[:300] for line in lines[1:4])}. Choose the config that trained the '
        'checkpoint.'
    )


def shorten(names: Iterable[str], count: int = 8) -> str:
    """The first of many names, for a message."""
    names = list(names)
    return ', '.join(names[:count]) + (', ...' if len(names) > count else '')


def _read_pickled(path: Path, map_location: str) -> dict:
    try:
        check_whole(path)
        checkpoint = unpickle(path, map_location)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read as a checkpoint. ({error})') from error
    except Exception as error:
        raise CheckpointError(
            f'{path} cannot be read as a checkpoint. It is truncated, not a checkpoint, or holds '
            f'more than tensors and plain data, which is never unpickled here. ({_reason(error)})'
        ) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{path} holds a {type(checkpoint).__name__}, not a dict of weights.')
    if 'state_dict' not in checkpoint and _is_state(checkpoint.get('model')):
        checkpoint['state_dict'] = checkpoint.pop('model')  # as Facebook's MAE and timm store it
    if 'state_dict' not in checkpoint:
        # DINO and iBOT store {'student': weights, 'teacher': weights, ...}.
        several = {name: part for name, part in checkpoint.items() if _is_state(part)}
        if several and not _is_state(checkpoint):
            weights = {f'{n}.{k}': v for n, part in several.items() for k, v in part.items()}
            return {k: v for k, v in checkpoint.items() if k not in several} | dict(
                state_dict=weights
            )
        if not _is_state(checkpoint):
            keys = shorten(map(repr, checkpoint), 5) or 'nothing'
            raise CheckpointError(f'{path} has no state_dict; it holds {keys}.')
        checkpoint = dict(state_dict=checkpoint)
    return checkpoint


def _is_state(content) -> bool:
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(value, Tensor) for value in content.values())
    )


def _check_state(state, path: Path) -> None:
    if not isinstance(state, dict) or not state:
        what = 'empty' if isinstance(state, dict) else f'a {type(state).__name__}'
        raise CheckpointError(f'{path} has no weights: its state_dict is {what}.')
    for key, value in state.items():
        if not isinstance(key, str) or not key.isprintable():
            raise CheckpointError(f'{path} has a weight whose name is {key!r}, not a plain text.')
        if not isinstance(value, Tensor):
            raise CheckpointError(f'{path}: {key} is a {type(value).__name__}, not a tensor.')


def _reason(error: Exception) -> str:
    """What went wrong in a line; a file may bring text of its own, with control characters."""
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0][:300]
    return ''.join(c if c.isprintable() else f'\\x{ord(c):02x}' for c in line)
