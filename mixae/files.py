"""Files that are written whole or not at all, their hashes, and folders that one has at a time."""

import fcntl
import hashlib
import os
import time
from pathlib import Path
from typing import BinaryIO

from mixae.errors import BusyError, OutputError

LOCK = '.lock'


def write_whole(path: str | os.PathLike, text: str) -> None:
    """Replace a file: it appears whole or not at all. Its folder is made if missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with open(draft, 'w', encoding='utf-8', newline='') as file:
            file.write(text)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def file_sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


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
