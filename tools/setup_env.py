"""Builds ``.venv`` and installs everything into it; started by ``tools/setup.sh``.

Standard library only: it runs before anything is installed. What it does, in order:

1. Check the machine, before anything is downloaded (``check_machine``).
2. Create ``.venv``; where nothing can be compiled, ask pip whether a wheel of mmcv fits.
3. Install the build tools, torch, the packages, mmcv's operators, and mixae itself (editable).
4. Import everything once (``tools/setup_check.py``).

Each step leaves a stamp with a hash of what it depends on, written when the step is over. So the
set-up can be killed at any moment and repeated: it goes on where it was, after removing what pip
left half installed. A last stamp covers all of it; while it and the installed versions hold, a call
returns at once.

pip's own settings (``PIP_FIND_LINKS``, indexes, proxies, caches) apply unchanged.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import hashlib
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

SUPPORTED = ((3, 11), (3, 12))
GB = 10**9
NEEDED_BYTES = 12 * GB  # the environment (8 GB) and pip's downloads beside it
NEEDED_BYTES_WITH_TORCH = 3 * GB  # the large packages are in place already
CACHE_BYTES = 4 * GB  # what pip's download cache takes
LIBRARIES = ('libGL.so.1', 'libgthread-2.0.so.0')  # of opencv-python
HEARTBEAT_SECONDS = 30
COMPILE_MINUTES = 9  # mmcv's operators, on 2 cores
STATE = '.setup'  # folder inside .venv: stamps, pip's log, temporary files
UNFINISHED = 'unfinished'  # stamp of mmcv while it is replaced: what is installed does not count
INSTALL_FILES = ('build', 'torch', 'runtime', 'tests', 'constraints', 'mmcv')


class Problem(Exception):
    """What keeps the set-up from going on, as one line that says what to do."""


# --- What the machine must have -----------------------------------------------------------------


def check_python(version=None, implementation=None) -> None:
    """Refuse a Python that the pinned packages have no builds for.

    Raises:
        Problem: It is not CPython 3.11 or 3.12.
    """
    version = tuple(version or sys.version_info)[:2]
    implementation = implementation or sys.implementation.name
    if version not in SUPPORTED or implementation != 'cpython':
        raise Problem(
            f'{sys.executable} is {implementation} {version[0]}.{version[1]}; mixae needs CPython '
            '3.11 or 3.12. Install one or name one: make setup PYTHON=/path/to/python3.11'
        )


def check_venv_modules() -> None:
    """Refuse a Python that cannot create virtual environments (Debian splits that part off).

    Raises:
        Problem: ``venv`` or ``ensurepip`` is missing.
    """
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        name = 'python{}.{}'.format(*sys.version_info[:2])
        raise Problem(
            f'{sys.executable} cannot create virtual environments (no module {error.name}). '
            f'Install it (Debian, Ubuntu: apt-get install {name}-venv) or name another Python: '
            'make setup PYTHON=/path/to/python3.11'
        ) from None


def check_libraries(names=LIBRARIES) -> None:
    """Refuse a system without the shared libraries that opencv-python loads.

    Raises:
        Problem: One cannot be loaded; all such are named.
    """
    if not sys.platform.startswith('linux'):
        return
    missing = []
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            missing.append(name)
    if missing:
        raise Problem(
            f'{" and ".join(missing)} cannot be loaded; opencv-python needs libGL and glib. '
            'Install them (Debian, Ubuntu: apt-get install libgl1 libglib2.0-0)'
        )


def check_disk(folder: Path, needed: int) -> None:
    """Refuse a disk that would be full before the end.

    Args:
        folder: The checkout; everything is written below it.
        needed: Bytes that must be free.

    Raises:
        Problem: Fewer are.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Problem(
            f'the disk of {folder} has {free / GB:.1f} GB free and set-up needs '
            f'{needed / GB:.1f} GB. Free {(needed - free) / GB:.1f} GB more, or move the checkout '
            'to a larger disk; what was installed so far is kept'
        )


def toolchain_problem(environ=None, include=None) -> str | None:
    """What is missing for compiling mmcv's operators, with the advice; None if nothing is.

    Compiles a few lines for real, since a compiler may be there without its C++ library, be older
    than C++17, or be another program's name.

    Args:
        environ: Variables; ``CXX`` and ``CC`` name other compilers, as for the build itself.
        include: Folder that should hold ``Python.h``; this Python's by default.
    """
    environ = os.environ if environ is None else environ
    include = include or sysconfig.get_path('include')
    install_compiler = 'Install a C++ compiler (Debian, Ubuntu: apt-get install g++)'
    commands = (
        shlex.split(environ.get('CXX') or 'c++'),
        shlex.split(environ.get('CC') or sysconfig.get_config_var('CC') or 'cc'),
    )
    for command in commands:
        if shutil.which(command[0], path=environ.get('PATH')) is None:
            return f'there is no compiler {command[0]}. {install_compiler}'
    if not (Path(include) / 'Python.h').exists():
        name = 'python{}.{}'.format(*sys.version_info[:2])
        return (
            f"Python's headers are missing ({include}/Python.h). Install them (Debian, Ubuntu: "
            f'apt-get install {name}-dev)'
        )
    source = '#include <Python.h>\n#include <optional>\n#include <vector>\nstd::optional<int> x;\n'
    result = subprocess.run(
        [*commands[0], '-std=c++17', '-fsyntax-only', f'-I{include}', '-x', 'c++', '-'],
        input=source,
        capture_output=True,
        text=True,
        env=dict(environ),
    )
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ['no message'])[0]
        return f'{commands[0][0]} does not compile C++17 ({reason}). {install_compiler}'
    return None


def check_machine(root: Path, needed: int) -> None:
    """Everything that can be known before the first file is written.

    Raises:
        Problem: The first thing that is missing.
    """
    check_python()
    check_venv_modules()
    check_libraries()
    check_disk(root, needed)


# --- What is wanted and what is installed -------------------------------------------------------


def normalize(name: str) -> str:
    """A distribution's name as pip compares it."""
    return re.sub(r'[-_.]+', '-', name).lower()


def read_pins(path: Path) -> dict[str, str]:
    """The exact pins of a requirements file: normalized name to version.

    Raises:
        Problem: A line is not ``name==version``.
    """
    pins = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.split('#')[0].strip()
        if not line:
            continue
        match = re.fullmatch(r'([A-Za-z0-9._-]+)==([A-Za-z0-9.!+_-]+)', line)
        if match is None:
            raise Problem(f'{path}:{number}: expected name==version, found {line!r}')
        pins[normalize(match.group(1))] = match.group(2)
    return pins


def installed_versions(site: Path) -> dict[str, str]:
    """The completely installed distributions of an environment: normalized name to version.

    pip writes ``RECORD`` last, so a distribution without one was interrupted.
    """
    versions = {}
    for info in site.glob('*.dist-info'):
        name, _, version = info.name[: -len('.dist-info')].rpartition('-')
        if (info / 'RECORD').exists():
            versions[normalize(name)] = version
    return versions


def remove_half_installed(site: Path) -> list[str]:
    """Remove what a killed pip left, which pip itself would take for installed or stumble over.

    Returns:
        The names of the folders removed.
    """
    removed = []
    for path in sorted(site.glob('*')):
        interrupted = path.name.endswith('.dist-info') and not (path / 'RECORD').exists()
        if interrupted or path.name.startswith('~'):  # '~': half removed by an upgrade
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            removed.append(path.name)
    return removed


def has_pins(installed: dict[str, str], pins: dict[str, str]) -> bool:
    """Whether every pin is installed in its version (a build tag such as ``+cpu`` aside)."""
    return all(installed.get(name, '').split('+')[0] == pin for name, pin in pins.items())


def digest(*parts) -> str:
    """A hash of strings, bytes and mappings."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, dict):
            part = repr(sorted(part.items()))
        part = part if isinstance(part, bytes) else str(part).encode()
        total.update(b'%d:' % len(part) + part)
    return total.hexdigest()


class Stamps:
    """Small files that say what a finished step was done with."""

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self, step: str) -> str | None:
        try:
            return (self.folder / f'{step}.stamp').read_text()
        except OSError:
            return None

    def write(self, step: str, key: str) -> None:
        """Write atomically: after a crash a stamp is there with its content, or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile('w', dir=self.folder, delete=False) as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, self.folder / f'{step}.stamp')

    def remove(self, step: str) -> None:
        (self.folder / f'{step}.stamp').unlink(missing_ok=True)


# --- Running programs and showing how far they are ----------------------------------------------


def die_with_parent() -> None:
    """In a child on Linux: end when set-up is killed, so that the next finds no pip at work."""
    if sys.platform.startswith('linux'):
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def progress_of(line: str) -> str | None:
    """What a line of pip's output says about progress, in a few words; None if nothing.

    Known are ninja's ``[12/140]``, downloads of 20 MB and more, builds, and the installation.
    """
    line = line.strip()
    match = re.match(r'\[(\d+)/(\d+)\]', line)
    if match:
        return f'{match.group(1)} of {match.group(2)} files compiled'
    match = re.match(r'Downloading (\S+?)-\d\S* .*?\(([\d.]+) (MB|GB)\)', line)
    if match and (match.group(3) == 'GB' or float(match.group(2)) >= 20):
        return f'downloading {Path(match.group(1)).name} ({match.group(2)} {match.group(3)})'
    if line.startswith('Building wheel for '):
        return 'building ' + line.split()[3]
    if line.startswith('Installing collected packages:'):
        return f'installing {line.count(",") + 1} packages'
    return None


class Console:
    """Messages of the set-up: short lines, and one line that is rewritten on a terminal."""

    def __init__(self, steps: int, stream=None):
        self.steps, self.step = steps, 0
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self._open_line = False

    def say(self, text: str) -> None:
        self.end_status()
        print(text, file=self.stream, flush=True)

    def begin(self, title: str) -> None:
        self.step += 1
        self.say(f'[{self.step}/{self.steps}] {title}')

    def status(self, text: str) -> None:
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            print(f'\r\033[K{text[:width]}', end='', file=self.stream, flush=True)
            self._open_line = True
        else:
            self.say(text)

    def end_status(self) -> None:
        if self._open_line:
            print(file=self.stream, flush=True)
            self._open_line = False


def run(command, environ, console: Console, log: Path, own_progress: bool = False) -> int:
    """Run a program to its end, showing how far it is, its output in a log.

    Args:
        command: Program and arguments.
        environ: Its variables.
        console: Where progress goes.
        log: File that its output is added to.
        own_progress: On a terminal the program shows its own progress (and keeps its own log).

    Returns:
        The exit status.
    """
    inherit = own_progress and console.live
    # Its own process group, so that an interruption ends its compilers too.
    process = subprocess.Popen(
        [str(part) for part in command],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=None if inherit else subprocess.PIPE,
        stderr=None if inherit else subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        if not inherit:
            follow(process, console, log)
        return process.wait()
    except BaseException:
        end_group(process)
        raise
    finally:
        console.end_status()


def follow(process, console: Console, log: Path) -> None:
    """Copy a program's output to a log and show its progress, at least every heartbeat."""
    start = shown = time.monotonic()
    latest, announced, rest = 'working', None, b''
    pipe = process.stdout.fileno()
    with open(log, 'ab') as file:
        while True:
            if select.select([pipe], [], [], 1.0)[0]:
                data = os.read(pipe, 65536)
                if not data:
                    return
                file.write(data)
                file.flush()
                *lines, rest = re.split(rb'[\r\n]+', rest + data)
                for line in lines:
                    latest = progress_of(line.decode(errors='replace')) or latest
            now = time.monotonic()
            passed = f'{int(now - start) // 60}:{int(now - start) % 60:02d}'
            counting = latest.endswith('compiled')
            if console.live:
                if now - shown >= 1:
                    console.status(f'      {latest} ({passed})')
                    shown = now
            elif now - shown >= HEARTBEAT_SECONDS or (latest != announced and not counting):
                if latest != 'working' or now - shown >= HEARTBEAT_SECONDS:
                    console.say(f'      {latest} ({passed})')
                    announced, shown = latest, now


def end_group(process) -> None:
    """End a program and its children: by Ctrl-C, and after a few seconds by force."""
    for number, patience in ((signal.SIGINT, 5), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def explain_failure(output: str) -> str | None:
    """Translate pip's output into what to do, for the failures that have a known cause."""
    causes = (
        ('No space left on device|Errno 28', 'the disk is full: free some space'),
        (
            'NewConnectionError|Max retries exceeded|ConnectionError|ReadTimeout|name resolution',
            'the package index cannot be reached: check the network, the proxy and pip config',
        ),
        (
            'Killed signal terminated|fatal error: Killed|out of memory',
            'the compiler ran out of memory: set MAX_JOBS=1',
        ),
        ('MemoryError', 'there is not enough memory'),
    )
    for pattern, advice in causes:
        if re.search(pattern, output):
            return advice
    return None


# --- The set-up ---------------------------------------------------------------------------------


def build_environment(environ, has_gpu: bool, memory: int, cpus: int) -> dict[str, str]:
    """Variables for compiling mmcv's operators; what the user has set wins.

    Args:
        environ: The variables so far.
        has_gpu: Whether an NVIDIA device is present.
        memory: Bytes of memory.
        cpus: Processors this process may use.
    """
    environ = dict(environ)
    # A compiler process takes up to 2 GB here; mmcv starts four, however small the machine.
    environ.setdefault('MAX_JOBS', str(max(1, min(cpus, memory // (2 * GB)))))
    # Debug symbols are 80 of the library's 84 MB.
    environ['CFLAGS'] = ('-g0 ' + environ.get('CFLAGS', '')).strip()
    cuda_home = environ.get('CUDA_HOME') or '/usr/local/cuda'
    has_nvcc = (Path(cuda_home) / 'bin' / 'nvcc').exists() or shutil.which(
        'nvcc', path=environ.get('PATH')
    )
    if has_gpu and not has_nvcc:
        # mmcv would insist on CUDA kernels because it sees a GPU. Without nvcc it gets operators
        # for the CPU: pre-training and classification still run on the GPU.
        environ['CUDA_VISIBLE_DEVICES'] = ''
    return environ


class SetUp:
    """One run of the set-up in one checkout."""

    def __init__(self, root: Path, console: Console, environ=None):
        self.root = root
        self.console = console
        self.venv = root / '.venv'
        self.python = self.venv / 'bin' / 'python'
        self.state = self.venv / STATE
        self.stamps = Stamps(self.state)
        self.log = self.state / 'pip.log'
        self.pins = {
            name: read_pins(root / 'requirements' / f'{name}.txt') for name in INSTALL_FILES
        }
        self.environ = dict(os.environ if environ is None else environ)
        # What would lead pip out of the environment, or foreign packages into it.
        for name in (
            'PYTHONPATH',
            'PYTHONHOME',
            'PIP_TARGET',
            'PIP_PREFIX',
            'PIP_ROOT',
            '__PYVENV_LAUNCHER__',
        ):
            self.environ.pop(name, None)
        self.environ.update(PIP_USER='0', PYTHONNOUSERSITE='1', PIP_NO_INPUT='1')

    # what the environment is now

    @property
    def site(self) -> Path:
        version = self.venv_version() or sys.version_info[:2]
        return self.venv / 'lib' / 'python{}.{}'.format(*version) / 'site-packages'

    def venv_version(self) -> tuple[int, int] | None:
        """The Python of ``.venv``, or None where there is none or its interpreter is gone."""
        try:
            text = (self.venv / 'pyvenv.cfg').read_text()
        except OSError:
            return None
        match = re.search(r'^version(?:_info)?\s*=\s*(\d+)\.(\d+)', text, re.MULTILINE)
        if match is None or not self.python.exists():
            return None
        return int(match.group(1)), int(match.group(2))

    def keys(self) -> dict[str, str]:
        """What each step depends on, as a hash."""
        package = (self.root / 'setup.py').read_bytes()
        version = (self.root / 'mixae' / 'version.py').read_bytes()
        packages = {
            **self.pins['constraints'], **self.pins['runtime'], **self.pins['tests'],
        }  # fmt: skip
        return {
            'build': digest(self.pins['build']),
            'torch': digest(self.pins['torch']),
            'packages': digest(packages),
            'mmcv': digest(self.pins['mmcv'], self.pins['torch']),
            'mixae': digest(str(self.root), package, version),
        }

    def key_of_all(self) -> str:
        scripts = [
            (self.root / 'tools' / name).read_bytes() for name in ('setup_env.py', 'setup_check.py')
        ]
        return digest(self.keys(), *scripts, self.venv_version())

    def wanted(self) -> dict[str, dict[str, str]]:
        """The pins that must be installed after each step."""
        packages = {**self.pins['runtime'], **self.pins['tests']}
        return {
            'build': self.pins['build'],
            'torch': self.pins['torch'],
            'packages': packages,
            'mmcv': self.pins['mmcv'],
        }

    def is_done(self) -> bool:
        """Whether a finished set-up still holds."""
        if self.stamps.read('all') != self.key_of_all():
            return False
        installed = installed_versions(self.site)
        return 'mixae' in installed and all(
            has_pins(installed, pins) for pins in self.wanted().values()
        )

    def step_holds(self, step: str) -> bool:
        installed = installed_versions(self.site)
        if step == 'mixae':
            present = 'mixae' in installed
        else:
            present = has_pins(installed, self.wanted()[step])
        return present and self.stamps.read(step) == self.keys()[step]

    def needed_bytes(self) -> int:
        """Disk space for what is still to be done."""
        if all(map(self.step_holds, self.keys())):
            return 0
        has_torch = has_pins(installed_versions(self.site), self.pins['torch'])
        return NEEDED_BYTES_WITH_TORCH if has_torch else NEEDED_BYTES

    # the steps

    def make(self, python_was_named: bool = False) -> None:
        """Do what is missing.

        Raises:
            Problem: It cannot be done; the message says what to do.
        """
        found = self.venv_version()
        if python_was_named and found and found != sys.version_info[:2]:
            raise Problem(
                '.venv holds Python {}.{} and PYTHON is {}.{}: remove .venv (make clean-env) and '
                'repeat, or leave PYTHON out'.format(*found, *sys.version_info[:2])
            )
        if found and found not in SUPPORTED:
            raise Problem(
                '.venv holds Python {}.{}; mixae needs 3.11 or 3.12: remove .venv (make clean-env) '
                'and repeat'.format(*found)
            )

        self.stamps.remove('all')
        self.console.begin('checking this machine')
        check_machine(self.root, self.needed_bytes())

        self.make_venv(found)
        self.temporary_folder()
        self.log.unlink(missing_ok=True)  # pip adds to it: 30 MB a full run
        for name in remove_half_installed(self.site):
            self.console.say(f'      removed {name}: an interrupted installation left it')
        if not self.step_holds('mmcv'):
            self.check_mmcv_can_come()
        self.step('build', 'build tools', '-r', self.file('build'))
        versions = installed_versions(self.site)
        if 'torch' in versions and not has_pins(versions, self.pins['torch']):
            self.stamps.write('mmcv', UNFINISHED)  # what is there was built for another torch
        self.step(
            'torch',
            f'torch {self.pins["torch"]["torch"]} (downloads about 3 GB)',
            '-r',
            self.file('torch'),
        )
        self.step(
            'packages',
            'the packages of OpenMMLab, and what mixae and its tests need',
            *('-r', self.file('runtime'), '-r', self.file('tests'), '--no-build-isolation'),
        )
        self.make_mmcv()
        self.step('mixae', 'mixae itself', '-e', self.root, '--no-deps', '--no-build-isolation')

        self.console.begin('checking that everything works together')
        self.check('the environment is incomplete')
        self.stamps.write('all', self.key_of_all())

    def file(self, name: str) -> Path:
        return self.root / 'requirements' / f'{name}.txt'

    def make_venv(self, found) -> None:
        version = '{}.{}.{}'.format(*sys.version_info[:3])
        has_pip = found and self.quiet('-m', 'pip', '--version') == 0
        self.console.begin('.venv: there already' if has_pip else f'.venv with Python {version}')
        if not has_pip:
            # On a half-made .venv's own Python, the new environment must not point to itself.
            base = getattr(sys, '_base_executable', None) or sys.executable
            result = subprocess.run(
                [base, '-m', 'venv', '--clear', str(self.venv)],
                env=self.environ, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            if result.returncode != 0 or self.quiet('-m', 'pip', '--version') != 0:
                reason = (result.stderr + result.stdout).strip().splitlines() or ['no message']
                raise Problem(f'{base} -m venv .venv failed: {reason[-1]}')
        self.state.mkdir(exist_ok=True)

    def temporary_folder(self) -> None:
        """pip's temporary files on the checkout's own disk, whose space was checked.

        What a killed run has left there is removed.
        """
        for old in self.state.glob('tmp*'):
            shutil.rmtree(old, ignore_errors=True)
        folder = tempfile.mkdtemp(prefix='tmp-', dir=self.state)
        self.environ['TMPDIR'] = folder
        cache = (
            self.environ.get('PIP_CACHE_DIR') or self.environ.get('XDG_CACHE_HOME') or Path.home()
        )
        cache = Path(cache)
        while not cache.exists() and cache != cache.parent:
            cache = cache.parent
        # A small cache disk is no reason to fail.
        if shutil.disk_usage(cache).free < CACHE_BYTES:
            self.environ['PIP_NO_CACHE_DIR'] = '1'

    def quiet(self, *arguments) -> int:
        """Run the environment's Python without showing anything."""
        return subprocess.run(
            [str(self.python), *map(str, arguments)],
            env=self.environ, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ).returncode  # fmt: skip

    def pip(self, *arguments, own_progress: bool = True, environ=None) -> None:
        """``pip install`` under the constraints.

        Raises:
            Problem: It failed; names the cause where that is known, and the log.
        """
        start = self.log.stat().st_size if self.log.exists() else 0
        command = [
            self.python,
            '-m',
            'pip',
            'install',
            '--log',
            self.log,
            '-c',
            self.file('constraints'),
        ]
        output = self.state / 'output.log'
        output.unlink(missing_ok=True)
        code = run(
            [*command, *arguments], environ or self.environ, self.console, output, own_progress
        )
        if code == 0:
            return
        text = ''
        if self.log.exists():
            with open(self.log, errors='replace') as file:
                file.seek(start)
                text = file.read()
        if output.exists():
            for line in output.read_text(errors='replace').splitlines()[-15:]:
                self.console.say(f'      | {line}')
        cause = explain_failure(text)
        if cause is None:
            check_disk(self.root, GB // 2)  # pip has removed its temporary files by now
            raise Problem(
                f'pip failed (exit status {code}); its messages are above and in {self.log}'
            )
        raise Problem(f'pip failed: {cause}, and repeat the command; the details are in {self.log}')

    def step(self, name: str, title: str, *arguments) -> None:
        """One installation, unless its stamp says that it was done."""
        if self.step_holds(name):
            self.console.begin(f'{title.split(" (")[0]}: done before')
            return
        self.console.begin(title)
        self.stamps.remove(name)
        self.pip(*arguments)
        self.stamps.write(name, self.keys()[name])

    def mmcv_requirement(self) -> tuple[str, str]:
        ((name, version),) = self.pins['mmcv'].items()
        return name, version

    def check_mmcv_can_come(self) -> None:
        """Before the large downloads: either mmcv can be compiled, or pip finds a wheel that fits.

        Raises:
            Problem: Neither.
        """
        name, version = self.mmcv_requirement()
        installed = installed_versions(self.site).get(name) == version
        problem = toolchain_problem(self.environ)
        if problem is None or (installed and self.stamps.read('mmcv') is None):
            return
        wheel = ('--only-binary', ':all:', '--no-deps', '--dry-run', '--ignore-installed')
        if self.quiet('-m', 'pip', 'install', *wheel, f'{name}=={version}') != 0:
            raise Problem(
                f'{name} {version} must be compiled, since pip finds no wheel of it for this '
                f'Python, but {problem}. Or let PIP_FIND_LINKS name a folder with a wheel'
            )

    def make_mmcv(self) -> None:
        """Install mmcv with operators that work with the installed torch."""
        name, version = self.mmcv_requirement()
        title = f'mmcv {version} with its operators'
        if self.step_holds('mmcv'):
            self.console.begin(f'{title}: done before')
            return
        self.console.begin(
            f'{title} (compiled for about {COMPILE_MINUTES} minutes where no wheel fits)'
        )
        earlier = self.stamps.read('mmcv')
        installed = installed_versions(self.site).get(name) == version
        # Without a stamp (a .venv made by hand), the operators themselves say whether they fit.
        # With the stamp of another torch they may load all the same, so they are replaced.
        if not (installed and earlier is None and self.check_quietly()):
            self.stamps.write('mmcv', UNFINISHED)
            environ = build_environment(
                self.environ,
                has_gpu=Path('/dev/nvidiactl').exists(),
                memory=os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'),
                cpus=len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 2,
            )
            if environ.get('CUDA_VISIBLE_DEVICES') == '' and not os.environ.get(
                'CUDA_VISIBLE_DEVICES'
            ):
                self.console.say('      a GPU but no nvcc: operators for the CPU only')
            # Not from pip's cache, which knows a built wheel by its version only, not by its torch.
            common = (
                *('-v', '--no-cache-dir', '--no-build-isolation', '--no-deps', '--force-reinstall'),
                f'{name}=={version}',
            )
            self.pip(*common, own_progress=False, environ=environ)
            if not self.check_quietly():
                self.console.say(
                    '      the operators do not work with this torch: compiling them here'
                )
                problem = toolchain_problem(self.environ)
                if problem:
                    raise Problem(f'{name} {version} must be compiled, but {problem}')
                self.pip(*common, '--no-binary', name, own_progress=False, environ=environ)
                self.check("mmcv's operators do not work", '--operators')
        self.stamps.write('mmcv', self.keys()['mmcv'])

    def check_quietly(self) -> bool:
        return self.quiet(self.root / 'tools' / 'setup_check.py', '--operators') == 0

    def check(self, what: str, *arguments) -> None:
        """Run ``setup_check.py`` in the environment.

        Raises:
            Problem: It found something.
        """
        script = self.root / 'tools' / 'setup_check.py'
        result = subprocess.run(
            [str(self.python), str(script), *arguments],
            env=self.environ, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if result.returncode != 0:
            reason = (result.stderr.strip().splitlines() or ['no message'])[-1]
            raise Problem(f'{what}: {reason}. Remove .venv (make clean-env) and repeat')


def lock(folder: Path, console: Console):
    """Wait until no other set-up works in the same checkout; returns what holds the lock."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        console.say('set-up: another one is at work in this checkout; waiting for it')
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        pass  # a network disk without locks
    return handle


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='check the machine, install nothing')
    parser.add_argument('--python-was-named', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    root = Path(__file__).resolve().parent.parent
    console = Console(steps=8)
    # Ending set-up from outside ends pip too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    setup = None
    try:
        check_python()
        setup = SetUp(root, console)
        if args.check:
            check_machine(root, setup.needed_bytes())
            problem = toolchain_problem()
            print(
                f'set-up: a wheel of mmcv is needed, since {problem}'
                if problem
                else 'set-up: all is there'
            )
            return 0
        named_other = args.python_was_named and setup.venv_version() != sys.version_info[:2]
        if setup.is_done() and not named_other:
            print('set-up: .venv is up to date')
            return 0
        handle = lock(root, console)
        try:
            if named_other or not setup.is_done():  # the set-up waited for may have done it
                setup.make(args.python_was_named)
        finally:
            os.close(handle)
    except Problem as problem:
        console.end_status()
        print(f'set-up: {problem}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        console.end_status()
        print('set-up: interrupted; the same command goes on where it was', file=sys.stderr)
        return 130
    except OSError as error:
        console.end_status()
        print(f'set-up: {error}; remedy that and repeat the command', file=sys.stderr)
        return 2
    finally:
        if setup is not None and setup.environ.get('TMPDIR', '').startswith(str(setup.state)):
            shutil.rmtree(setup.environ['TMPDIR'], ignore_errors=True)
    console.say('set-up: .venv is ready')
    return 0


if __name__ == '__main__':
    sys.exit(main())
