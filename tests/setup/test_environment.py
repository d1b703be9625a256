"""The set-up end to end, with real virtual environments and a real pip, on packages made here.

No network and no large package: a small checkout asks for small packages of the same names. mmcv
is, as in reality, a source package that is built against the installed torch, and remembers which.
"""

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith('linux'), reason='uses process groups and signals as on Linux'
)

# A build backend in a few lines; mmcv's waits while the file named by HOLD exists.
BACKEND = """
import os, time, zipfile
from pathlib import Path

NAME, VERSION, MODULE = {name!r}, {version!r}, {module!r}

def wheel(folder, files):
    tag = f'{{NAME}}-{{VERSION}}'
    with zipfile.ZipFile(Path(folder) / f'{{tag}}-py3-none-any.whl', 'w') as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f'{{tag}}.dist-info/METADATA',
            f'Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n')
        archive.writestr(f'{{tag}}.dist-info/WHEEL',
            'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
        archive.writestr(f'{{tag}}.dist-info/RECORD', '')
    return f'{{tag}}-py3-none-any.whl'

def build_wheel(folder, config_settings=None, metadata_directory=None):
    import torch
    hold = Path(os.environ.get('HOLD', '/nowhere'))
    if hold.exists():
        hold.with_suffix('.reached').touch()
        for number in range(600):
            print(f'[{{number}}/600] c++', flush=True)
            if not hold.exists():
                break
            time.sleep(0.1)
    return wheel(folder, {{f'{{MODULE}}.py': f'built_against = {{torch.version!r}}\\n'}})

def build_editable(folder, config_settings=None, metadata_directory=None):
    return wheel(folder, {{f'{{NAME}}.pth': os.getcwd() + '\\n'}})
"""

PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'

CHECK = """
import sys
import mmcv, torch
if mmcv.built_against != torch.version:
    sys.exit(f'mmcv was built against torch {mmcv.built_against}')
if '--operators' not in sys.argv:
    import helper, mixae
"""

# Without the demand for free disk space, which these small packages do not have.
DRIVER = """
import sys
sys.path.insert(0, {tools!r})
import setup_env
setup_env.NEEDED_BYTES = setup_env.NEEDED_BYTES_WITH_TORCH = {needed}
setup_env.HEARTBEAT_SECONDS = 1
sys.exit(setup_env.main(sys.argv[1:]))
"""


def write_wheel(folder: Path, name: str, version: str, files: dict) -> None:
    tag = f'{name}-{version}'
    with zipfile.ZipFile(folder / f'{tag}-py3-none-any.whl', 'w') as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        info = f'{tag}.dist-info'
        archive.writestr(
            f'{info}/METADATA', f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
        )
        archive.writestr(
            f'{info}/WHEEL',
            'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
        )
        archive.writestr(f'{info}/RECORD', '')


def write_sdist(folder: Path, name: str, version: str, module: str) -> None:
    files = {
        'pyproject.toml': PYPROJECT,
        'backend.py': BACKEND.format(name=name, version=version, module=module),
        'PKG-INFO': f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n',
    }
    with tarfile.open(folder / f'{name}-{version}.tar.gz', 'w:gz') as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(f'{name}-{version}/{path}')
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))


class Checkout:
    """A small checkout whose set-up is the real one."""

    def __init__(self, root: Path, packages: Path):
        self.root, self.packages = root, packages

    @property
    def site(self) -> Path:
        version = 'python{}.{}'.format(*sys.version_info[:2])
        return self.root / '.venv' / 'lib' / version / 'site-packages'

    def require(self, name: str, *pins: str) -> None:
        (self.root / 'requirements' / f'{name}.txt').write_text('\n'.join(pins) + '\n')

    def start(self, *arguments, needed=0, stdout=subprocess.PIPE, **environ) -> subprocess.Popen:
        driver = DRIVER.format(tools=str(self.root / 'tools'), needed=needed)
        environ = {
            **os.environ,
            'PIP_NO_INDEX': '1',
            'PIP_FIND_LINKS': str(self.packages),
            'PIP_CONFIG_FILE': os.devnull,
            'PYTHONUNBUFFERED': '1',
            'CXX': 'true',  # pretends to compile whatever it is given
            'CC': 'true',
            **environ,
        }
        return subprocess.Popen(
            [sys.executable, '-c', driver, *arguments],
            env=environ, text=True, stdin=subprocess.DEVNULL,
            stdout=stdout, stderr=subprocess.STDOUT,
            # Tests that run in a shell's background inherit that Ctrl-C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def set_up(self, *arguments, needed=0, **environ) -> tuple[int, str]:
        process = self.start(*arguments, needed=needed, **environ)
        output, _ = process.communicate(timeout=600)
        return process.returncode, output

    def python(self, code: str) -> str:
        command = [self.root / '.venv' / 'bin' / 'python', '-c', code]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=self.root.parent
        ).stdout.strip()


@pytest.fixture(scope='module')
def blank(root, tmp_path_factory):
    """The small checkout, nothing installed."""
    folder = tmp_path_factory.mktemp('setup')
    packages, checkout = folder / 'packages', folder / 'checkout'
    packages.mkdir()
    for name in ('tools', 'requirements', 'mixae'):
        (checkout / name).mkdir(parents=True)
    shutil.copy(root / 'tools' / 'setup_env.py', checkout / 'tools')
    (checkout / 'tools' / 'setup_check.py').write_text(CHECK)
    (checkout / 'setup.py').write_text('# the build backend beside it is used instead\n')
    (checkout / 'pyproject.toml').write_text(PYPROJECT)
    backend = BACKEND.format(name='mixae', version='0.1.0', module='unused')
    (checkout / 'backend.py').write_text(backend)
    (checkout / 'mixae' / '__init__.py').touch()
    (checkout / 'mixae' / 'version.py').write_text("__version__ = '0.1.0'\n")
    for version in ('1.0', '2.0'):
        write_wheel(packages, 'torch', version, {'torch.py': f'version = {version!r}\n'})
        write_wheel(packages, 'helper', version, {'helper.py': f'version = {version!r}\n'})
    write_wheel(packages, 'tool', '1.0', {'tool.py': ''})
    write_sdist(packages, 'onedl_mmcv', '1.0', 'mmcv')
    small = Checkout(checkout, packages)
    small.require('build', 'tool==1.0')
    small.require('torch', 'torch==1.0')
    small.require('runtime', 'helper==1.0')
    small.require('tests')
    small.require('constraints')
    small.require('mmcv', 'onedl-mmcv==1.0')
    return small


@pytest.fixture(scope='module')
def first_run(blank, tmp_path_factory):
    """The checkout after its first set-up, and what that printed."""
    root = tmp_path_factory.mktemp('first') / 'checkout'
    shutil.copytree(blank.root, root)
    checkout = Checkout(root, blank.packages)
    code, output = checkout.set_up()
    assert code == 0, output
    return checkout, output


@pytest.fixture(scope='module')
def bare_venv(tmp_path_factory):
    """An environment with nothing but pip, to copy: creating one takes seconds."""
    folder = tmp_path_factory.mktemp('bare') / '.venv'
    subprocess.run([sys.executable, '-m', 'venv', folder], check=True)
    return folder


@pytest.fixture
def untouched(blank, tmp_path):
    """The checkout before any set-up."""
    shutil.copytree(blank.root, tmp_path / 'checkout')
    return Checkout(tmp_path / 'checkout', blank.packages)


@pytest.fixture
def empty(untouched, bare_venv):
    """The checkout with nothing in its environment yet."""
    shutil.copytree(bare_venv, untouched.root / '.venv', symlinks=True)
    return untouched


@pytest.fixture
def finished(first_run, tmp_path):
    """A copy of the finished checkout, its mixae reinstalled since the path is another."""
    checkout, _ = first_run
    shutil.copytree(checkout.root, tmp_path / 'checkout', symlinks=True)
    copy = Checkout(tmp_path / 'checkout', checkout.packages)
    code, output = copy.set_up()
    assert code == 0, output
    # A moved checkout's editable installation points to the old place: only that is done again.
    assert steps_done(output) == {'mixae'}
    return copy


def steps_done(output: str) -> set[str]:
    """The installing steps that a run went through, rather than found done."""
    names = {'build tools': 'build', 'torch': 'torch', 'the packages': 'packages'}
    names |= {'mmcv': 'mmcv', 'mixae': 'mixae'}
    lines = [line.partition('] ')[2] for line in output.splitlines() if line.startswith('[')]
    return {
        step
        for line in lines
        for title, step in names.items()
        if line.startswith(title) and not line.endswith('done before')
    }


def wait_until(condition, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.05)


def test_first_run_installs_everything(first_run):
    checkout, output = first_run
    assert steps_done(output) == {'build', 'torch', 'packages', 'mmcv', 'mixae'}
    assert [line[:5] for line in output.splitlines() if line.startswith('[')] == [
        f'[{k}/8]' for k in range(1, 9)
    ]
    found = checkout.python('import helper, mixae, mmcv; print(mixae.__file__, mmcv.built_against)')
    assert found == f'{checkout.root}/mixae/__init__.py 1.0'
    assert not list((checkout.root / '.venv' / '.setup').glob('tmp*'))


def test_second_run_starts_no_program(finished):
    log = finished.root / '.venv' / '.setup' / 'pip.log'
    before = log.stat().st_mtime_ns
    # Nothing it could install from is there any more, nor an interpreter that works.
    code, output = finished.set_up(PIP_FIND_LINKS='/nowhere')
    assert (code, output) == (0, 'set-up: .venv is up to date\n')
    assert log.stat().st_mtime_ns == before


def test_a_changed_requirement_redoes_its_own_step(finished):
    finished.require('runtime', 'helper==2.0')
    code, output = finished.set_up()
    assert code == 0, output
    assert steps_done(output) == {'packages'}
    assert finished.python('import helper; print(helper.version)') == '2.0'


def test_a_changed_comment_installs_nothing(finished):
    finished.require('runtime', '# why', 'helper==1.0')
    assert finished.set_up() == (0, 'set-up: .venv is up to date\n')


def test_another_torch_rebuilds_mmcv(finished):
    finished.require('torch', 'torch==2.0')
    code, output = finished.set_up()
    assert code == 0, output
    assert steps_done(output) == {'torch', 'mmcv'}
    assert finished.python('import mmcv; print(mmcv.built_against)') == '2.0'


def test_versions_changed_by_hand_are_put_right(finished):
    pip = [finished.root / '.venv' / 'bin' / 'python', '-m', 'pip', 'install', '-q', '--no-index']
    subprocess.run([*pip, '--find-links', finished.packages, 'torch==2.0'], check=True)
    code, output = finished.set_up()
    assert code == 0, output
    assert finished.python('import torch; print(torch.version)') == '1.0'


def test_an_environment_made_by_hand_is_adopted(finished):
    shutil.rmtree(finished.root / '.venv' / '.setup')
    record = next(finished.site.glob('onedl_mmcv-*.dist-info')) / 'RECORD'
    before = record.stat().st_mtime_ns
    code, output = finished.set_up()
    assert code == 0, output
    assert record.stat().st_mtime_ns == before  # mmcv works with this torch: not built again


def test_a_half_installed_package_is_installed_again(finished):
    # What kill -9 leaves while pip unpacks: some files, the metadata, but no RECORD.
    (finished.site / 'helper.py').unlink()
    (finished.site / 'helper-1.0.dist-info' / 'RECORD').unlink()
    (finished.site / '~orch').mkdir()
    code, output = finished.set_up()
    assert code == 0, output
    assert finished.python('import helper; print(helper.version)') == '1.0'
    assert not (finished.site / '~orch').exists()


@pytest.mark.slow
def test_a_half_made_venv_is_made_again(empty):
    shutil.rmtree(empty.site / 'pip')
    code, output = empty.set_up()
    assert code == 0, output


@pytest.mark.parametrize(
    'number',
    [signal.SIGKILL, signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)],
)
def test_interrupted_while_compiling(finished, tmp_path, number):
    hold, reached = tmp_path / 'hold', tmp_path / 'hold.reached'
    hold.touch()
    finished.require('torch', 'torch==2.0')
    process = finished.start(HOLD=str(hold))
    wait_until(reached.exists)
    process.send_signal(number)
    # Ends with its output closed, that is with no pip or compiler of it left holding it.
    output, _ = process.communicate(timeout=300)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert 'the same command goes on where it was' in output
    hold.unlink()

    code, output = finished.set_up()
    assert code == 0, output
    # torch was finished; the mmcv built for the old one is still there, and must not count.
    assert steps_done(output) == {'mmcv'}
    assert finished.python('import mmcv; print(mmcv.built_against)') == '2.0'
    assert not list((finished.root / '.venv' / '.setup').glob('tmp*'))


def test_a_long_compilation_shows_that_it_lives(finished, tmp_path):
    hold = tmp_path / 'hold'
    hold.touch()
    finished.require('torch', 'torch==2.0')
    process = finished.start(HOLD=str(hold))
    lines = []
    for line in process.stdout:
        lines.append(line)
        if 'files compiled' in line:
            hold.unlink(missing_ok=True)
    process.stdout.close()
    assert process.wait(300) == 0, ''.join(lines)
    assert any('of 600 files compiled' in line for line in lines)


def test_progress_on_a_terminal(finished):
    finished.require('torch', 'torch==2.0')
    ours, theirs = os.openpty()
    process = finished.start(stdout=theirs, TERM='xterm', COLUMNS='80')
    os.close(theirs)
    output = b''
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # Linux's way of saying that the other end is closed
            break
        if not data:
            break
        output += data
    os.close(ours)
    assert process.wait(300) == 0
    assert b'Successfully installed torch-2.0' in output  # pip's own progress, as it is


@pytest.mark.slow
def test_two_at_once_take_turns(finished, tmp_path):
    hold, reached = tmp_path / 'hold', tmp_path / 'hold.reached'
    hold.touch()
    finished.require('torch', 'torch==2.0')
    first = finished.start(HOLD=str(hold))
    wait_until(reached.exists)
    second = finished.start()
    assert 'waiting for it' in second.stdout.readline()
    hold.unlink()
    assert first.wait(300) == 0
    output, _ = second.communicate(timeout=300)
    assert second.returncode == 0
    assert steps_done(output) == set()
    first.stdout.close()


def test_no_compiler_and_no_wheel_stops_before_the_downloads(empty):
    code, output = empty.set_up(CXX='nowhere-c++')
    assert code == 2
    message = output.strip().splitlines()[-1]
    assert 'must be compiled' in message and 'no compiler nowhere-c++' in message
    assert 'apt-get install g++' in message and 'PIP_FIND_LINKS' in message
    assert not list(empty.site.glob('torch*'))


@pytest.mark.slow
def test_no_compiler_but_a_wheel(empty, tmp_path):
    wheels = tmp_path / 'wheels'
    wheels.mkdir()
    write_wheel(wheels, 'onedl_mmcv', '1.0', {'mmcv.py': "built_against = '1.0'\n"})
    code, output = empty.set_up(CXX='nowhere-c++', PIP_FIND_LINKS=f'{wheels} {empty.packages}')
    assert code == 0, output


@pytest.mark.slow
def test_a_wheel_built_for_another_torch_is_compiled_instead(empty, tmp_path):
    wheels = tmp_path / 'wheels'
    wheels.mkdir()
    write_wheel(wheels, 'onedl_mmcv', '1.0', {'mmcv.py': "built_against = '0.9'\n"})
    code, output = empty.set_up(PIP_FIND_LINKS=f'{wheels} {empty.packages}')
    assert code == 0, output
    assert 'compiling them here' in output
    assert empty.python('import mmcv; print(mmcv.built_against)') == '1.0'


def test_a_full_disk_leaves_nothing_behind(untouched):
    code, output = untouched.set_up(needed=10**18)
    assert code == 2
    assert 'GB free and set-up needs' in output.strip().splitlines()[-1]
    assert not (untouched.root / '.venv').exists()


@pytest.mark.slow
def test_a_package_that_pip_does_not_find(empty):
    empty.require('runtime', 'helper==9.9')
    code, output = empty.set_up()
    assert code == 2
    assert 'helper==9.9' in output  # pip's own message
    assert output.strip().splitlines()[-1].startswith('set-up: pip failed')


def test_another_python_than_the_one_named(finished):
    config = finished.root / '.venv' / 'pyvenv.cfg'
    other = '3.12.0' if sys.version_info[:2] == (3, 11) else '3.11.0'
    lines = [line for line in config.read_text().splitlines() if not line.startswith('version')]
    config.write_text('\n'.join([*lines, f'version = {other}']) + '\n')
    code, output = finished.set_up('--python-was-named')
    assert code == 2
    assert f'.venv holds Python {other[:4]}' in output and 'make clean-env' in output


@pytest.mark.slow
def test_foreign_settings_do_not_lead_pip_astray(empty, tmp_path):
    target = tmp_path / 'elsewhere'
    target.mkdir()
    (target / 'helper.py').write_text("version = 'foreign'\n")
    code, output = empty.set_up(PIP_TARGET=str(target), PYTHONPATH=str(target), PIP_USER='1')
    assert code == 0, output
    assert (empty.site / 'helper.py').exists()
