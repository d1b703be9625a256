"""Files that are written whole or not at all, their hashes, and folders that one has at a time."""

import errno
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from mixae.errors import BusyError, OutputError

LOCK = '.lock'
# Where `configs` and `tools` are: the checkout, or `mixae/.mim` of an installed package. In a
# checkout `mixae/.mim` holds links, as mmengine and mim look there.
ROOT = (Path(__file__).parent / '.mim' / 'configs').resolve().parent


def find_config(path: str | os.PathLike) -> Path:
    """The file that a config's name stands for.

    Args:
        path: A file, or the name of a config that mixae ships: ``mixae::mae/vitb_800e.py`` is
            ``configs/mae/vitb_800e.py`` of the checkout or of the installed package.
    """
    package, mark, name = str(path).partition('::')
    return ROOT / 'configs' / name if mark and package == 'mixae' else Path(path)


@contextmanager
def replace_whole(path: str | os.PathLike, *, overwrite: bool = True) -> Iterator[Path]:
    """A draft to write to, which takes the file's place when the block ends well.

    The draft lies beside the file, under a name that nobody can foresee, and is created here: a
    link that was planted there is neither found nor followed. It is on the disk before it is
    renamed, and the folder's entry after, so that a power cut leaves the old file or the new one.

    Args:
        path: The file. Its folder is made if missing; a link is replaced, not followed.
        overwrite: False fails where the file exists, also when it has appeared meanwhile.

    Yields:
        Path: The draft, an empty file of the same ending. A writer may open it or replace it.

    Raises:
        OutputError: The file cannot be written there, or the disk is full.
        FileExistsError: There is such a file, with ``overwrite=False``.
    """
    path = Path(path)
    draft = path.parent / f'.{secrets.token_hex(8)}.partial{path.suffix}'
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
        mode = draft.stat().st_mode
        yield draft
        os.chmod(draft, mode)  # a writer may have made a file of its own
        _sync(draft)
        if overwrite:
            os.replace(draft, path)
        else:
            _move_to_free_name(draft, path)
        with suppress(OSError):  # not every file system syncs a folder
            _sync(path.parent)
    except OSError as error:
        is_taken = isinstance(error, FileExistsError) and not overwrite and path.exists()
        if is_taken or isinstance(error, OutputError):
            raise
        raise OutputError(f'{path} cannot be written ({error.strerror or error}).') from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def check_folder(folder: str | os.PathLike) -> None:
    """Make a folder, if it is missing, in which files can be written.

    Raises:
        OutputError: It cannot be.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise OutputError(f'{folder} cannot be written ({error.strerror}).') from error


def check_output(path: str | os.PathLike, endings: Sequence[str] = ()) -> Path:
    """A file that is to be written once it is computed, which may take long.

    Args:
        path (str | PathLike): The file. Its folder is made if missing.
        endings (Sequence[str]): Of its name, in small letters; () allows any.

    Raises:
        OutputError: A folder, a name of another ending, or a place that cannot be written.
    """
    found = Path(path)
    if not str(path) or os.path.isdir(path):
        raise OutputError(f'{str(path)!r} is a folder: name the file to write.')
    if endings and found.suffix.lower() not in endings:
        raise OutputError(f'{path}: expected a name that ends in {" or ".join(endings)}.')
    check_folder(found.parent)
    try:
        os.lstat(found)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(f'{path} cannot be written ({error.strerror}).') from error
    return found


def write_whole(path: str | os.PathLike, content: str | bytes, *, overwrite: bool = True) -> None:
    """Write text (in UTF-8) or bytes by :func:`replace_whole`."""
    with replace_whole(path, overwrite=overwrite) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)


def file_sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def lock_file(path: str | os.PathLike) -> IO:
    """A file, open for writing, that no other process can lock until it is closed.

    The lock ends with this process, however that ends; its children do not hold it (a data
    loader's workers outlive a killed parent by seconds).

    Raises:
        BlockingIOError: Another process has it.
        OSError: The file cannot be written, or its file system has no locks.
    """
    file = open(path, 'a', encoding='utf-8')
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise BlockingIOError(error.errno, error.strerror, str(path)) from None
        raise
    return file


def lock_folder(folder: str | os.PathLike, patience: float = 0.0) -> BinaryIO:
    """Keep others from a folder, which is made if missing.

    Args:
        folder (str | PathLike): The folder.
        patience (float): Seconds to try for; who only looks holds a lock for an instant.

    Returns:
        BinaryIO: An empty file in it. The lock holds for as long as this file is open, here or in
        a process that has inherited it.

    Raises:
        BusyError: Somebody else has the lock.
        OutputError: The folder cannot be written, or its file system has no locks.
    """
    until = time.monotonic() + patience
    try:
        os.makedirs(folder, exist_ok=True)
        lock = open(Path(folder) / LOCK, 'a+b')  # for writing, without which NFS gives no lock
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                if time.monotonic() >= until:
                    break
                time.sleep(0.1)
    except OSError as error:
        raise OutputError(
            f'{folder} cannot be written or locked ({error.strerror}): name another folder with '
            '--work-dir.'
        ) from error
    lock.close()
    raise BusyError(
        f'Another process is at work on {folder}: wait for it, or name another folder with '
        '--work-dir.'
    )


def _move_to_free_name(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)  # unlike a rename, it fails where the name is taken
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(f'{path} is there already') from None
        os.rename(draft, path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
