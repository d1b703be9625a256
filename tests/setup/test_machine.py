"""Every obstacle is named in one line that says what to do, before anything is installed."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture
def setup_env(monkeypatch):
    """``tools/setup_env.py`` as a module, free to be patched."""
    spec = importlib.util.spec_from_file_location('setup_env', TOOLS / 'setup_env.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, 'setup_env', module)
    return module


@pytest.mark.parametrize(
    ('pythons', 'chosen', 'expected'),
    [
        ({'python3.12': '3.12', 'python3.11': '3.11'}, '', 'started by python3.11'),
        ({'python3.12': '3.12', 'python3': '3.11'}, '', 'started by python3.12'),
        ({'python3': '3.10', 'python': '3.12'}, '', 'started by python'),
        ({'python3.11': '', 'python3': '3.12'}, '', 'started by python3'),  # '': does not run
        ({'python3.11': '3.11', '.venv': '3.12'}, '', 'started by .venv'),
        ({'python3.11': '3.11', '.venv': '3.11', 'mine': '3.12'}, 'mine', 'started by mine'),
        ({'python3': '3.13', 'python': '2.7'}, '', 'python3 is Python 3.13, python is Python 2.7'),
        ({'python3.11': '3.11', 'mine': '3.10'}, 'mine', 'mine is Python 3.10'),
        ({'python3.11': '3.11'}, 'nowhere', 'none of these runs: nowhere'),
    ],
)
def test_choice_of_python(tmp_path, pythons, chosen, expected):
    checkout, programs = tmp_path / 'a checkout', tmp_path / 'bin'
    shutil.copytree(TOOLS, checkout / 'tools')
    programs.mkdir()
    (programs / 'dirname').symlink_to(shutil.which('dirname'))
    for name, version in pythons.items():
        path = checkout / '.venv/bin/python' if name == '.venv' else programs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        answer = f'echo {version}' if version else 'exit 127'
        path.write_text(f'#!/bin/sh\n[ "$3" = -c ] && {answer} || echo "started by {name}: $3"\n')
        path.chmod(0o755)
    command = [shutil.which('sh'), checkout / 'tools/setup.sh']
    environ = {'PATH': str(programs), 'PYTHON': chosen}
    result = subprocess.run(command, env=environ, capture_output=True, text=True)
    if expected.startswith('started'):
        assert result.stdout == f'{expected}: {checkout}/tools/setup_env.py\n'
    else:
        assert (result.returncode, result.stdout) == (2, '')
        (line,) = result.stderr.splitlines()
        assert f'3.11 or 3.12; {expected}. Install' in line and 'apt-get install python3.11' in line


FULL = shutil.disk_usage('/')._replace(free=11_900_000_000)


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('importlib.util.find_spec', lambda name: None, r'ensurepip .*install python3\.1\d-venv'),
        ('setup_env.LIBRARIES', ('libc.so.6', 'libGL.so.0'), 'libGL.so.0 .*apt-get install libgl1'),
        ('shutil.disk_usage', lambda path: FULL, '11.9 GB free and needs 12: free some'),
        ('setup_env.PYTHON_NAME', 'python3.9', r'holds python3\.1\d, not python3.9.* clean-env'),
    ],
)
def test_machine(setup_env, monkeypatch, tmp_path, name, value, message):
    (tmp_path / 'lib' / setup_env.PYTHON_NAME).mkdir(parents=True)
    monkeypatch.setattr(setup_env, 'VENV', tmp_path)
    monkeypatch.setattr(setup_env, 'SITE', tmp_path / 'lib' / setup_env.PYTHON_NAME)
    monkeypatch.setattr(setup_env, 'LIBRARIES', ('libc.so.6',))
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: FULL._replace(free=12_100_000_000))
    setup_env.check_machine()
    monkeypatch.setattr(name, value)
    with pytest.raises(setup_env.Problem, match=message):
        setup_env.check_machine()


@pytest.mark.skipif(shutil.which('c++') is None, reason='no C++ compiler here')
@pytest.mark.parametrize(
    ('compiler', 'header', 'pip', 'fits'),
    [
        ('c++', True, 'false', True),
        ('c++', False, 'false', False),
        ('nowhere-c++', True, 'false', False),
        ('nowhere-c++', True, 'true', True),  # pip finds a wheel
    ],
)
def test_compiler(setup_env, monkeypatch, tmp_path, compiler, header, pip, fits):
    if header:
        (tmp_path / 'Python.h').touch()
    monkeypatch.setattr(setup_env.sysconfig, 'get_path', lambda name: str(tmp_path))
    monkeypatch.setattr(setup_env, 'PYTHON', pip)
    monkeypatch.setenv('CXX', compiler)
    if fits:
        setup_env.check_mmcv_can_come()
    else:
        with pytest.raises(setup_env.Problem, match=r'apt-get install g\+\+ python3\.1\d-dev'):
            setup_env.check_mmcv_can_come()


@pytest.mark.parametrize(('gigabytes', 'jobs'), [(64, '8'), (5, '2'), (1, '1')])
def test_build_variables(setup_env, monkeypatch, gigabytes, jobs):
    memory = {'SC_PAGE_SIZE': 1000, 'SC_PHYS_PAGES': gigabytes * 10**6}
    monkeypatch.setattr(os, 'sysconf', memory.get)
    monkeypatch.setattr(os, 'cpu_count', lambda: 8)
    monkeypatch.setattr(os, 'environ', {'CUDA_HOME': '/nowhere', 'PATH': '/nowhere'})
    variables = setup_env.build_variables()
    assert (variables['MAX_JOBS'], variables['CUDA_VISIBLE_DEVICES']) == (jobs, '')
    os.environ.update(MAX_JOBS='7', CFLAGS='-O1')
    variables = setup_env.build_variables()
    assert (variables['MAX_JOBS'], variables['CFLAGS']) == ('7', '-g0 -O1')
