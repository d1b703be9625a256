"""Making digit scenes on disk, once, and proving on every load that they are what was made.

A part lies in a folder of its own under the data root, with a ``manifest.json`` that holds the
options it was made with and the sha256 of every file::

    digit_scenes/
      classification/  {train,test}_images.npy   (n, 64, 64, 3) uint8, RGB
                       {train,test}_labels.npy   (n,) uint8, 0..9
                       {train,test}_provenance.json
      scenes/          images/{training,validation}/000000.png
                       annotations/{training,validation}/000000.png   ADE20K's layout, 0 = none
                       coco/instances_{training,validation}.json      COCO instances
                       coco/provenance_{training,validation}.json

A part is built beside its place under a file lock and renamed into it when complete: a killed build
leaves nothing that could be taken for data, and of two processes one builds and the other waits,
saying for whom.
"""

import contextlib
import errno
import json
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_utils
from filelock import FileLock, Timeout
from PIL import Image

from mixae.errors import DataError
from mixae.files import file_sha256

from .options import (
    DEFAULTS,
    ROOT_VARIABLE,
    Options,
    check_split,
    find_root,
    make_options,
)
from .scene import Draws, Scene, draw_scene
from .sources import SPLITS, STUFF, Sources, load_sources

VERSION = 1  # of the pictures; raise it with every change that moves a pixel or a label
DIGIT_NAMES = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
FOLDERS = {'train': 'training', 'test': 'validation'}  # ADE20K's names for our splits


def draw_picture(part: str, options: Options, split: str, i: int, sources: Sources) -> Scene:
    """Draw picture ``i`` of a split of a part.

    It depends on the options but their counts, on the part, the split and ``i``, and on nothing
    else. In 'classification' every ten pictures in a row show ten digits, in random order: classes
    are balanced, and so are evenly spaced subsets.
    """
    key = (options.seed, list(DEFAULTS).index(part), SPLITS.index(split))
    first_digit = None
    if part == 'classification':
        ten = Draws(*key, i // 10, 10)
        order = sorted((ten.unit(), digit) for digit in range(10))
        first_digit = order[i % 10][1]
    return draw_scene(
        sources,
        split,
        Draws(*key, i),
        size=options.size,
        digits=options.digits,
        backgrounds=options.backgrounds,
        height=options.height,
        first_digit=first_digit,
    )


def prepare(
    part: str,
    data_root: str | os.PathLike | None = None,
    *,
    splits: tuple[str, ...] = SPLITS,
    sources: Callable[[], Sources] = load_sources,
    **changes,
) -> Path:
    """Return the folder of a part: made if it is missing, checked if it is there.

    A part with a damaged or missing file is made again, with a line that names the file; the
    pictures are the same, since they follow from the options.

    Args:
        part (str): 'classification' or 'scenes'.
        data_root (str, optional): See :func:`find_root`.
        splits (tuple[str, ...]): Splits whose files are checked.
        sources (Callable): What loads the real data, when a part has to be made.
        **changes: Options other than the default, see :class:`Options`.

    Returns:
        Path: ``<data_root>/<part>``.

    Raises:
        ConfigError: Unknown part, split or option, or a value out of range.
        DataError: The folder holds something else, or pictures of other options; it cannot
            be written; the disk is full; a source picture is missing.
    """
    options = make_options(part, **changes)
    for split in splits:
        check_split(split)
    root = find_root(data_root)
    folder = root / part
    try:
        if _state(folder, part, options, splits) is None:
            return folder
        root.mkdir(parents=True, exist_ok=True)
        with _lock(root, part):
            problem = _state(folder, part, options, splits)  # another process may have made it
            if problem is not None:
                if folder.exists():
                    print(f'Digit scenes: {problem}; making {folder} again.', flush=True)
                _build(folder, part, options, sources)
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f'Digit scenes: no space left under {root}; {part} needs about '
                f'{_megabytes(part, options)} MB. Free some, or give another data_root (or set '
                f'${ROOT_VARIABLE}).'
            ) from e
        raise DataError(
            f'Digit scenes: {e.filename or root} cannot be read or written ({e.strerror or e}). '
            f'Give a data_root (or set ${ROOT_VARIABLE}) that can.'
        ) from e
    return folder


@contextlib.contextmanager
def _lock(root: Path, part: str) -> Iterator[None]:
    """One process at a time; another one says that it waits, and for whom."""
    lock, owner = FileLock(root / f'.{part}.lock'), root / f'.{part}.owner'
    try:
        lock.acquire(timeout=0)
    except Timeout:
        try:
            who = owner.read_text()
        except OSError:
            who = 'another process'
        print(f'Digit scenes: waiting for {who}, which is making {root / part}.', flush=True)
        lock.acquire()
    try:
        owner.write_text(f'process {os.getpid()} on {socket.gethostname()}')
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _state(folder: Path, part: str, options: Options, splits: tuple[str, ...]) -> str | None:
    """None if ``folder`` holds the part in order; else why it has to be made (again)."""
    if not os.path.lexists(folder):
        return f'there is no {folder}'
    try:
        manifest = json.loads((folder / 'manifest.json').read_text())
        made_with = {**manifest['options']}
        files = manifest['files']
        if manifest['part'] != part:
            raise KeyError(part)
    except FileNotFoundError as e:
        # A build is renamed into place whole, so this is somebody else's folder: hands off.
        raise DataError(
            f'{folder} exists but has no manifest.json, so digit scenes did not make it. Move it '
            'away or give another data_root.'
        ) from e
    except (OSError, ValueError, KeyError, TypeError):
        return f'{folder / "manifest.json"} is damaged'
    if manifest.get('version') != VERSION:
        return f'{folder} was made by version {manifest.get("version")}, this is {VERSION}'
    wanted = json.loads(json.dumps(asdict(options)))
    if made_with != wanted:
        other = ', '.join(
            f'{name}={made_with.get(name)} (asked for: {wanted[name]})'
            for name in wanted
            if made_with.get(name) != wanted[name]
        )
        raise DataError(
            f'{folder} holds digit scenes made with {other}. Give another data_root, or delete it.'
        )
    for name, sha in files.items():
        if any(_split_of(name) == split for split in splits):
            path = folder / name
            if not path.is_file():
                return f'{path} is missing'
            if file_sha256(path) != sha:
                return f'{path} is damaged (its sha256 is not the one in manifest.json)'
    listed = {folder / name for name in files}
    for split in splits:
        for path in (folder / 'images' / FOLDERS[split]).glob('[!.]*'):
            if path not in listed:
                raise DataError(
                    f'{path} is not part of digit scenes, and would be read as one. Remove it.'
                )
    return None


def _split_of(name: str) -> str:
    return 'train' if 'train' in name else 'test'


def _megabytes(part: str, options: Options) -> int:
    """An upper bound of what a part takes on disk."""
    pixels = (options.num_train + options.num_test) * options.size**2
    return int(pixels * (3 if part == 'classification' else 4) / 1e6) + 5


def _build(folder: Path, part: str, options: Options, sources: Callable[[], Sources]) -> None:
    """Make a part in a folder beside its place, then rename; the caller holds the lock."""
    start = time.perf_counter()
    for leftover in folder.parent.glob(f'.{part}.building-*'):
        shutil.rmtree(leftover, ignore_errors=True)  # of a killed build: we hold the lock
    if shutil.disk_usage(folder.parent).free < _megabytes(part, options) * 1e6:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    material = sources()
    building = Path(tempfile.mkdtemp(prefix=f'.{part}.building-', dir=folder.parent))
    try:
        job = _Job(part, options, material, building)
        for split in SPLITS:
            if part == 'classification':
                _write_classification(job, split)
            else:
                _write_scenes(job, split)
        manifest = dict(
            part=part,
            version=VERSION,
            options=asdict(options),
            sources=material.digest,
            files={
                path.relative_to(building).as_posix(): file_sha256(path)
                for path in sorted(building.rglob('*'))
                if path.is_file()
            },
        )
        (building / 'manifest.json').write_text(json.dumps(manifest, indent=1))
        building.chmod(0o755)  # mkdtemp's folder is its owner's alone
        if folder.exists():
            old = building.with_name(building.name + '-old')
            folder.rename(old)
            building.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            building.rename(folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    print(
        f'Digit scenes ({part}, {options.num_train:,} + {options.num_test:,} pictures) made in '
        f'{folder} in {time.perf_counter() - start:.1f} s.',
        flush=True,
    )


@dataclass(frozen=True)
class _Job:
    part: str
    options: Options
    sources: Sources
    folder: Path


_job: _Job | None = None  # of a worker process, which inherits it


def _start_worker(job: _Job) -> None:
    global _job
    _job = job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    # A handler of Python's, inherited from the caller, only sets a flag: a worker that is ended on
    # the point of waiting for its next task would wait for good, and its parent for it.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)  # it was killed, and no task will come


def _make_in_worker(task: tuple[str, int]) -> tuple:
    return _make(_job, *task)


def _make(job: _Job, split: str, i: int) -> tuple:
    """Draw picture i, and encode it; what its line in the tables of the part needs."""
    scene = draw_picture(job.part, job.options, split, i, job.sources)
    provenance = dict(
        digit_samples=scene.samples_read,
        areas=[[STUFF[stuff_id].name, *box] for stuff_id, *box in scene.areas_read],
    )
    if job.part == 'classification':
        return scene.image, scene.digits[0], provenance
    name, where = f'{i:06d}.png', FOLDERS[split]
    # Level 1: the pictures are noisy, more effort saves little and takes thrice the time.
    Image.fromarray(scene.image).save(job.folder / 'images' / where / name, compress_level=1)
    Image.fromarray(scene.semantic).save(
        job.folder / 'annotations' / where / name, compress_level=1
    )
    instances = []
    for k, digit in enumerate(scene.digits):
        rle = mask_utils.encode(np.asfortranarray(scene.masks[k].astype(np.uint8)))
        instances.append(
            dict(
                image_id=i,
                category_id=digit + 1,
                bbox=mask_utils.toBbox(rle).tolist(),
                area=int(mask_utils.area(rle)),
                iscrowd=0,
                segmentation=dict(size=rle['size'], counts=rle['counts'].decode()),
                visible=scene.visible[k],
                sample=scene.samples[k],
            )
        )
    return name, instances, provenance


def _pictures(job: _Job, split: str) -> Generator[tuple, None, None]:
    """All pictures of a split in order, from two processes where that pays."""
    tasks = [(split, i) for i in range(job.options.count(split))]
    alone = len(tasks) < 200 or multiprocessing.current_process().daemon
    if alone or len(os.sched_getaffinity(0)) < 2:
        yield from (_make(job, *task) for task in tasks)
        return
    # Forked, since a fresh process would import the whole of OpenMMLab first. Two, not all cores:
    # other processes of a job wait for this one, and may spin.
    context = multiprocessing.get_context('fork')
    pool = ProcessPoolExecutor(2, context, _start_worker, (job,))
    try:
        yield from pool.map(_make_in_worker, tasks, chunksize=25)
    except BrokenProcessPool as e:
        raise DataError(
            'Digit scenes: a process that draws pictures was killed, perhaps for want of memory. '
            'Run this again; what it had made is gone.'
        ) from e
    finally:
        pool.shutdown(cancel_futures=True)


def _write_classification(job: _Job, split: str) -> None:
    count, size = job.options.count(split), job.options.size
    path = job.folder / f'{split}_images.npy'
    images = np.lib.format.open_memmap(path, 'w+', np.uint8, (count, size, size, 3))
    with open(path, 'r+b') as file:  # a full disk is an error here, but would be a SIGBUS below
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    labels, provenance = np.zeros(count, np.uint8), []
    with contextlib.closing(_pictures(job, split)) as pictures:
        for i, (image, label, origin) in enumerate(pictures):
            images[i], labels[i] = image, label
            provenance.append(origin)
    images.flush()
    np.save(job.folder / f'{split}_labels.npy', labels)
    (job.folder / f'{split}_provenance.json').write_text(json.dumps(provenance))


def _write_scenes(job: _Job, split: str) -> None:
    where, size = FOLDERS[split], job.options.size
    for kind in ('images', 'annotations'):
        (job.folder / kind / where).mkdir(parents=True)
    (job.folder / 'coco').mkdir(exist_ok=True)
    images, annotations, provenance = [], [], []
    with contextlib.closing(_pictures(job, split)) as pictures:
        for i, (name, instances, origin) in enumerate(pictures):
            images.append(dict(id=i, file_name=name, height=size, width=size))
            # Ids from 1: COCO's evaluation takes 0 for 'no match'.
            annotations += [dict(id=len(annotations) + 1 + k, **a) for k, a in enumerate(instances)]
            provenance.append(origin)
    tables = dict(
        info=dict(description='digit scenes', version=VERSION),
        images=images,
        annotations=annotations,
        categories=[dict(id=d + 1, name=name) for d, name in enumerate(DIGIT_NAMES)],
    )
    (job.folder / 'coco' / f'instances_{where}.json').write_text(json.dumps(tables))
    (job.folder / 'coco' / f'provenance_{where}.json').write_text(json.dumps(provenance))
