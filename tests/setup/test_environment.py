"""The set-up end to end in a small checkout, with a stand-in for the environment's Python and pip.

With the real ones, `make setup` itself is the test.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='kills as on Linux')

SOURCE = Path(__file__).resolve().parents[2]
PINS = {'build': 'tool==1.0', 'torch': 'torch==1.0', 'mmcv': 'onedl-mmcv==1.0'}
PINS |= {'runtime': 'helper==1.0', 'tests': '', 'constraints': ''}
# The stand-in makes .venv, and the demand for free disk space is gone.
DRIVER = 'import sys; sys.path.insert(0, sys.argv[1]); sys._base_executable = sys.argv[2]\n'
DRIVER += 'import setup_env; setup_env.NEEDED_GB = setup_env.NEEDED_GB_WITH_TORCH = 0\n'
DRIVER += 'sys.exit(setup_env.main())'


class Checkout:
    def __init__(self, root: Path):
        self.root, self.venv, self.python = root, root / '.venv', root / 'stand-in'
        self.site = self.venv / 'lib/python{}.{}/site-packages'.format(*sys.version_info[:2])
        for name in ('tools', 'requirements', 'mixae'):
            (root / name).mkdir(parents=True)
        for name in ('setup.py', 'mixae/version.py', 'tools/setup_check.py'):
            (root / name).touch()
        shutil.copy(SOURCE / 'tools/setup_env.py', root / 'tools')
        text = (SOURCE / 'tests/setup/stand_in.py').read_text()
        self.python.write_text(f'#!{sys.executable}\n{text}')
        self.python.chmod(0o755)
        self.require()

    def require(self, **pins: str) -> None:
        for name, text in {**PINS, **pins}.items():
            (self.root / f'requirements/{name}.txt').write_text(text)

    def start(self, **environ) -> subprocess.Popen:
        command = [sys.executable, '-c', DRIVER, self.root / 'tools', self.python]
        # A compiler that compiles anything, and what must not reach pip.
        settings = {'CXX': 'true', 'PYTHONPATH': '/foreign', 'PIP_USER': '1'}
        environ = {**os.environ, **settings, **environ}
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return subprocess.Popen(command, env=environ, start_new_session=True, **pipes)

    def set_up(self, code: int = 0, **environ) -> list[str]:
        process = self.start(**environ)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == code, output
        return output.splitlines()

    def torches(self) -> tuple[str, str]:
        """The installed torch, and the one that mmcv was built for."""
        return next(self.site.glob('torch-*')).stem, (self.site / 'onedl_mmcv').read_text()


@pytest.fixture
def empty(tmp_path):
    return Checkout(tmp_path / 'checkout')


@pytest.fixture
def checkout(empty):
    """The checkout after a set-up."""
    empty.set_up()
    return empty


@pytest.fixture
def building(checkout, tmp_path):
    """A set-up for torch 2.0 that is building mmcv, until the second, a file, is removed."""
    hold = tmp_path / 'hold'
    hold.touch()
    checkout.require(torch='torch==2.0')
    process = checkout.start(HOLD=str(hold))
    end = time.monotonic() + 300
    while not hold.with_suffix('.reached').exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    yield process, hold
    hold.unlink(missing_ok=True)
    process.communicate(timeout=300)


def test_first_run_and_second_call(empty):
    lines = empty.set_up()
    installed = [line.split()[1] for line in lines if line.startswith('installed')]
    assert installed == ['pip', 'tool', 'torch', 'helper', 'onedl_mmcv', 'mixae']
    assert lines[-1] == 'set-up: .venv is ready'
    assert empty.torches() == ('torch-1.0', 'torch-1.0')
    start = time.monotonic()
    assert empty.set_up() == ['set-up: .venv is ready']
    assert time.monotonic() - start < 3
    shutil.rmtree(empty.site / 'helper-1.0.dist-info')  # uninstalled by hand
    assert 'installed helper 1.0' in empty.set_up()


@pytest.mark.parametrize('environ', [{}, {'WHEEL': 'built for torch 1.0'}])
def test_another_torch_rebuilds_mmcv(checkout, environ):
    checkout.require(torch='torch==2.0')
    checkout.set_up(**environ)
    assert checkout.torches() == ('torch-2.0', 'torch-2.0')


def test_a_torch_installed_by_hand_rebuilds_mmcv(checkout):
    info = checkout.site / 'torch-1.0.dist-info'
    info.rename(info.with_name('torch-1.0+cpu.dist-info'))
    checkout.set_up()
    assert checkout.torches() == ('torch-1.0+cpu', 'torch-1.0+cpu')


def test_what_a_killed_pip_leaves_is_installed_again(checkout):
    (checkout.site / 'helper-1.0.dist-info/RECORD').unlink()  # killed while it unpacked
    (checkout.site / 'torch').rename(checkout.site / '~orch')  # killed while it replaced
    (checkout.venv / '.setup/done').unlink()
    lines = checkout.set_up()
    assert 'installed helper 1.0' in lines and 'installed torch 1.0' in lines
    assert 'installed tool 1.0' not in lines and 'installed onedl_mmcv 1.0' not in lines
    assert (checkout.site / 'torch').exists() and not (checkout.site / '~orch').exists()


def test_a_half_installed_pip_makes_a_new_venv(checkout):
    (checkout.site / 'pip').unlink()
    (checkout.venv / '.setup/done').unlink()
    assert 'installed pip 1.0' in checkout.set_up()
    assert checkout.torches() == ('torch-1.0', 'torch-1.0')


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGKILL, -9), (signal.SIGTERM, 130)])
def test_killed_with_its_pip_and_repeated(checkout, building, number, code):
    process, hold = building
    os.killpg(process.pid, number)
    assert process.wait(60) == code
    assert not (checkout.venv / '.setup/mmcv').exists()  # nothing vouches for what was replaced
    hold.unlink()
    lines = checkout.set_up()
    # torch was finished; the mmcv built for the old one was still there, and did not count.
    assert 'installed torch 2.0' not in lines
    assert checkout.torches() == ('torch-2.0', 'torch-2.0')


@pytest.mark.parametrize('killed', [False, True])
def test_two_at_once_take_turns(checkout, building, killed):
    first, hold = building
    if killed:  # alone: its pip lives on
        first.kill()
        first.wait()
    second = checkout.start()
    assert 'waiting for it' in second.stdout.readline()
    hold.unlink()
    output, _ = second.communicate(timeout=300)
    assert second.returncode == 0
    assert ('installed onedl_mmcv' in output) == killed  # else the first has done it
    assert checkout.torches() == ('torch-2.0', 'torch-2.0')


def test_failures_end_with_one_line(checkout):
    checkout.require(tests='nowhere==9.9')
    assert checkout.set_up(code=2)[-2:] == [
        'no distribution for nowhere==9.9',
        'set-up: failed: what mixae and its tests need. Follow the messages above and repeat the '
        'command',
    ]
    # No compiler and no wheel: before torch is downloaded.
    checkout.require(torch='torch==2.0', mmcv='nowhere==1.0')
    assert 'nowhere-c++ does not compile' in checkout.set_up(code=2, CXX='nowhere-c++')[-1]
    assert checkout.torches() == ('torch-1.0', 'torch-1.0')
