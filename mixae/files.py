"""Files that are written whole or not at all, and their hashes."""

import hashlib
import os
from pathlib import Path


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
