"""Files that are written whole or not at all, their hashes, and locks."""

import errno
import fcntl
import hashlib
import os
from pathlib import Path
from typing import IO


def write_whole(path: str | os.PathLike, text: str) -> None:
    """Replace a file: it appears whole or not at all. Its folder is made if missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with open(draft, 'w', encoding='utf-8', newline='') as file:
            file.write(text)
        move_whole(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def move_whole(draft: str | os.PathLike, path: str | os.PathLike) -> None:
    """Give a written file its name once its content is on the disk."""
    descriptors = []
    try:
        for name in (draft, Path(path).parent):  # the content, then the name
            descriptors.append(os.open(name, os.O_RDONLY))
        os.fsync(descriptors[0])
        os.replace(draft, path)
        os.fsync(descriptors[1])
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


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
