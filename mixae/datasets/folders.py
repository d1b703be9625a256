"""Folders of images: what counts as one, and what is left out."""

import os
from collections import Counter

# What cv2 and Pillow both read. Names are compared in lower case.
SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')


def is_junk(name: str) -> bool:
    """Whether a file or folder is a system's or an editor's own (.DS_Store, __MACOSX, ...)."""
    return name.startswith('.') or name == '__MACOSX'


def list_files(root: str) -> list[str]:
    """Paths of all files below a folder, relative to it and sorted; without junk.

    Raises:
        OSError: The folder, or one below it, cannot be read.
    """

    def stop(error: OSError):
        raise error

    found = []
    for folder, folders, files in os.walk(root, onerror=stop, followlinks=True):
        folders[:] = [name for name in folders if not is_junk(name)]
        inside = os.path.relpath(folder, root)
        prefix = '' if inside == os.curdir else inside + os.sep
        found += [prefix + name for name in files if not is_junk(name)]
    return sorted(found)


def left_out(paths: list[str], folder: str, total: int, reason: str) -> str | None:
    """A line that counts and names files that are not used, by suffix; None if there are none."""
    if not paths:
        return None
    suffixes = Counter(os.path.splitext(path)[1] or 'no suffix' for path in paths)
    counts = ', '.join(f'{count} {suffix}' for suffix, count in suffixes.most_common(8))
    names = ', '.join(paths[:3]) + (', ...' if len(paths) > 3 else '')
    where = f'{os.path.normpath(folder)}: {len(paths)} of {total} files are left out'
    return f'{where}, {reason}: {counts} ({names}).'
