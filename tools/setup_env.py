"""Builds ``.venv`` and installs everything into it; started by ``tools/setup.sh``.

Standard library only: it runs before anything is installed. It can be killed at any moment and
repeated: what pip has finished stays, what it left half done is removed and installed again. pip's
own settings (``PIP_FIND_LINKS``, indexes, proxies) apply unchanged.
"""

import csv
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECK = ROOT / 'tools' / 'setup_check.py'
REQUIREMENTS = ROOT / 'requirements'
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin' / 'python'
PYTHON_NAME = 'python{}.{}'.format(*sys.version_info[:2])
SITE = VENV / 'lib' / PYTHON_NAME / 'site-packages'
TEMPORARY = VENV / '.setup' / 'tmp'
DONE = VENV / '.setup' / 'done'  # stamp of a finished set-up
MMCV = VENV / '.setup' / 'mmcv'  # stamp of mmcv: the torch that it was built for
NEEDED_GB = 12  # the environment (8 GB), and pip's downloads beside it
NEEDED_GB_WITH_TORCH = 2
LIBRARIES = ('libGL.so.1', 'libgthread-2.0.so.0')  # of opencv-python
DEBIAN = 'Debian, Ubuntu: apt-get install'


class Problem(Exception):
    """What keeps the set-up from going on, as one line that says what to do."""


def check_machine() -> None:
    """Raise Problem if this machine lacks something, before anything is downloaded."""
    if importlib.util.find_spec('ensurepip') is None:
        raise Problem(f'{sys.executable} has no ensurepip ({DEBIAN} {PYTHON_NAME}-venv)')
    for library in LIBRARIES if sys.platform == 'linux' else ():
        try:
            ctypes.CDLL(library)
        except OSError:
            raise Problem(f'{library} does not load ({DEBIAN} libgl1 libglib2.0-0)') from None
    needed = NEEDED_GB_WITH_TORCH if distributions('torch') else NEEDED_GB
    free = shutil.disk_usage(ROOT).free / 10**9
    if free < needed:
        raise Problem(f'the disk of {ROOT} has {free:.1f} GB free and needs {needed}: free some')
    others = {path.name for path in (VENV / 'lib').glob('python*')} - {PYTHON_NAME}
    if others:
        raise Problem(f'.venv holds {others.pop()}, not {PYTHON_NAME}: remove it (make clean-env)')


def distributions(name: str) -> list[str]:
    """What is installed under a name, with versions; ``'*'`` is everything."""
    return sorted(path.stem for path in SITE.glob(f'{name}-*.dist-info'))


def mmcv_stamp() -> str:
    """What mmcv's operators depend on, and which mmcv is installed."""
    wanted = [(REQUIREMENTS / file).read_text() for file in ('torch.txt', 'mmcv.txt')]
    return repr([wanted, distributions('torch'), distributions('onedl_mmcv')])


def stamp_of_all() -> str:
    """A hash of what a finished set-up depends on and of what is installed."""
    files = [*sorted(REQUIREMENTS.glob('*.txt')), ROOT / 'setup.py', ROOT / 'mixae' / 'version.py']
    contents = [path.read_bytes() for path in (*files, Path(__file__), CHECK)]
    everything = [str(ROOT), contents, mmcv_stamp(), distributions('*')]
    return hashlib.sha256(repr(everything).encode()).hexdigest()


def holds(path: Path, stamp: str) -> bool:
    return path.exists() and path.read_text() == stamp


def remove_half_installed() -> None:
    """Remove what a killed pip left, so that pip does not take it for installed.

    pip writes RECORD, the list of files, last. A killed upgrade leaves names that begin with ``~``
    and may have moved files away that a RECORD still lists.
    """
    for path in [*SITE.glob('~*'), *SITE.glob('*.dist-info')]:
        record = path / 'RECORD'
        if not path.name.startswith('~') and record.exists():
            with open(record, newline='') as file:
                names = [row[0] for row in csv.reader(file) if row]
            if all(name.endswith('.pyc') or (SITE / name).exists() for name in names):
                continue
        print(f'set-up: removing {path.name}, left by an interrupted installation', flush=True)
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def run(title: str, *command, **variables) -> None:
    """Run a program, showing its output; raise Problem if it fails."""
    print(f'set-up: {title}', flush=True)
    # It inherits the lock: if set-up alone is killed, the next one waits for the program's end.
    if subprocess.run(command, env={**os.environ, **variables}, close_fds=False).returncode != 0:
        raise Problem(f'failed: {title}. Follow the messages above and repeat the command')


def succeeds(*command, **options) -> bool:
    return subprocess.run(command, capture_output=True, **options).returncode == 0


def pip(title: str, *arguments, **variables) -> None:
    constraints = REQUIREMENTS / 'constraints.txt'
    run(title, PYTHON, '-m', 'pip', 'install', '-c', constraints, *arguments, **variables)


def check_mmcv_can_come() -> None:
    """Raise Problem if mmcv can neither be compiled nor come as a wheel, before the downloads."""
    compiler = shlex.split(os.environ.get('CXX') or 'c++')
    include = sysconfig.get_path('include')
    probe = [*compiler, '-std=c++17', '-fsyntax-only', f'-I{include}', '-x', 'c++', '-']
    source = b'#include <Python.h>\n#include <optional>\nstd::optional<int> x;\n'
    if shutil.which(compiler[0]) and succeeds(*probe, input=source):
        return
    wheel = ('--dry-run', '--ignore-installed', '--no-deps', '--only-binary', ':all:')
    if not succeeds(PYTHON, '-m', 'pip', 'install', *wheel, '-r', REQUIREMENTS / 'mmcv.txt'):
        raise Problem(
            f'mmcv must be compiled, since pip finds no wheel of it, and {compiler[0]} does not '
            f'compile C++17 with Python.h ({DEBIAN} g++ {PYTHON_NAME}-dev)'
        )


def build_variables() -> dict[str, str]:
    """Environment variables for compiling mmcv's operators; what the user has set wins."""
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    # A compiler process takes up to 2 GB, and mmcv would start four on any machine.
    jobs = max(1, min(os.cpu_count(), memory // (2 * 10**9)))
    flags = f'-g0 {os.environ.get("CFLAGS", "")}'  # debug symbols: 80 of the library's 84 MB
    variables = {'MAX_JOBS': str(jobs), **os.environ, 'CFLAGS': flags}
    cuda = os.environ.get('CUDA_HOME') or '/usr/local/cuda'
    if not shutil.which('nvcc') and not Path(cuda, 'bin', 'nvcc').exists():
        print('set-up: without nvcc, mmcv is compiled for the CPU only', flush=True)
        variables['CUDA_VISIBLE_DEVICES'] = ''  # mmcv insists on nvcc where it sees a GPU
    return variables


def install_mmcv() -> None:
    """Install mmcv with operators that work with the installed torch."""
    MMCV.unlink(missing_ok=True)
    variables = build_variables()
    # pip's cache knows the wheel it built by its version alone, not by its torch.
    options = ('--no-cache-dir', '--no-build-isolation', '--no-deps', '--force-reinstall')
    options = (*options, '-r', REQUIREMENTS / 'mmcv.txt')
    pip('mmcv (where pip finds no wheel: 9 minutes on 2 cores)', *options, **variables)
    if not succeeds(PYTHON, '-P', CHECK, '--operators'):
        pip('mmcv compiled, as its wheel does not fit', *options, '--no-binary=:all:', **variables)
    MMCV.write_text(mmcv_stamp())


def set_up() -> None:
    DONE.unlink(missing_ok=True)
    remove_half_installed()
    check_machine()
    if not PYTHON.exists() or not distributions('pip'):
        # Not sys.executable, which is the old .venv's own where that is half made.
        run(f'.venv with {PYTHON_NAME}', sys._base_executable, '-m', 'venv', '--clear', VENV)
    # pip's temporary files go to the disk whose space was checked; a killed one leaves gigabytes.
    shutil.rmtree(TEMPORARY, ignore_errors=True)
    TEMPORARY.mkdir(parents=True, exist_ok=True)
    os.environ['TMPDIR'] = str(TEMPORARY)
    if not holds(MMCV, mmcv_stamp()):
        check_mmcv_can_come()

    pip('build tools', '-r', REQUIREMENTS / 'build.txt')
    pip('torch (3 GB)', '-r', REQUIREMENTS / 'torch.txt')
    packages = ('-r', REQUIREMENTS / 'runtime.txt', '-r', REQUIREMENTS / 'tests.txt')
    pip('what mixae and its tests need', '--no-build-isolation', *packages)
    if not holds(MMCV, mmcv_stamp()):
        install_mmcv()
    pip('mixae itself', '--no-build-isolation', '--no-deps', '-e', ROOT)
    run('checking that everything works together', PYTHON, '-P', CHECK)
    shutil.rmtree(TEMPORARY, ignore_errors=True)
    DONE.write_text(stamp_of_all())


def lock() -> None:
    """Wait until no other set-up works in this checkout; the lock ends with the process."""
    folder = os.open(ROOT, os.O_RDONLY)
    os.set_inheritable(folder, True)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print('set-up: another one is at work in this checkout; waiting for it', flush=True)
        fcntl.flock(folder, fcntl.LOCK_EX)
    except OSError:
        pass  # a network disk without locks


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends pip too, as Ctrl-C does
    # Foreign packages stay out of the environment, and pip in it.
    os.environ.pop('PYTHONPATH', None)
    os.environ.update(PYTHONNOUSERSITE='1', PIP_USER='0')
    try:
        lock()
        if not (PYTHON.exists() and holds(DONE, stamp_of_all())):
            set_up()
    except (Problem, OSError) as problem:
        print(f'set-up: {problem}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('set-up: interrupted; the same command continues it', file=sys.stderr)
        return 130
    print('set-up: .venv is ready')
    return 0


if __name__ == '__main__':
    sys.exit(main())
