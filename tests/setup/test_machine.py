"""Every obstacle is named in one line that says what to do, before anything is installed."""

import ast
import os
import shutil
import subprocess
import sys

import pytest

# --- which Python: tools/setup.sh ---------------------------------------------------------------


@pytest.fixture
def shell(root, tmp_path):
    """Runs the set-up script of an empty checkout where only the given Pythons exist."""
    checkout, programs = tmp_path / 'checkout', tmp_path / 'bin'
    (checkout / 'tools').mkdir(parents=True)
    programs.mkdir()
    shutil.copy(root / 'tools' / 'setup.sh', checkout / 'tools')
    (checkout / 'tools' / 'setup_env.py').write_text('unused: the Pythons here are fakes')
    (programs / 'dirname').symlink_to(shutil.which('dirname'))

    def run(pythons, chosen=None):
        for name, version in pythons.items():
            # Answers the version question; asked to run set-up, it tells its name.
            (programs / name).write_text(
                '#!/bin/sh\n'
                f'[ "$3" = -c ] && echo {version} || echo "started by {name}:" "$@"\n'
                + ('exit 127\n' if version == '' else '')
            )
            (programs / name).chmod(0o755)
        environ = {'PATH': str(programs)}
        if chosen:
            environ['PYTHON'] = chosen
        script = checkout / 'tools' / 'setup.sh'
        return subprocess.run(
            [shutil.which('sh'), str(script)], env=environ, capture_output=True, text=True
        )

    return run


def assert_one_line(result, *parts):
    assert result.returncode == 2
    assert result.stdout == ''
    assert len(result.stderr.strip().splitlines()) == 1
    for part in parts:
        assert part in result.stderr


@pytest.mark.parametrize('version', ['2.7', '3.8', '3.10', '3.13'])
def test_only_an_unsupported_python(shell, version):
    result = shell({'python3': version})
    assert_one_line(result, f'python3 is {version}', '3.11 or 3.12', 'apt-get install python3.11')


def test_no_python_at_all(shell):
    assert_one_line(shell({}), 'no Python found', 'apt-get install')


@pytest.mark.parametrize('version', ['3.10', '3.13'])
def test_a_named_python_that_does_not_fit(shell, version):
    result = shell({'python3.11': '3.11', 'mine': version}, chosen='mine')
    assert_one_line(result, 'PYTHON=mine', f'Python {version}')


def test_a_named_python_that_is_missing(shell):
    assert_one_line(shell({'python3.11': '3.11'}, chosen='nowhere'), 'PYTHON=nowhere does not run')


@pytest.mark.parametrize(
    ('pythons', 'taken'),
    [
        ({'python3.12': '3.12', 'python3.11': '3.11'}, 'python3.11'),
        ({'python3.12': '3.12', 'python3': '3.10'}, 'python3.12'),
        ({'python3': '3.12'}, 'python3'),
        # A version manager's stand-in: there by name, but does not run.
        ({'python3.11': '', 'python3': '3.12'}, 'python3'),
    ],
)
def test_the_first_python_that_fits_is_taken(shell, pythons, taken):
    result = shell(pythons)
    assert result.returncode == 0, result.stderr
    assert f'started by {taken}:' in result.stdout


def test_a_named_python_is_passed_on_as_named(shell):
    result = shell({'python3.11': '3.11', 'mine': '3.12'}, chosen='mine')
    assert 'started by mine:' in result.stdout
    assert '--python-was-named' in result.stdout


def test_an_old_python_can_read_the_script(root):
    source = (root / 'tools' / 'setup_env.py').read_text()
    ast.parse(source, feature_version=(3, 8))


# --- what the machine has: tools/setup_env.py ---------------------------------------------------


@pytest.mark.parametrize('version', [(3, 10, 13), (3, 13, 0), (4, 0, 0)])
def test_python_version(setup_env, version):
    with pytest.raises(setup_env.Problem, match='needs CPython 3.11 or 3.12'):
        setup_env.check_python(version)


def test_python_implementation(setup_env):
    with pytest.raises(setup_env.Problem, match='pypy 3.11'):
        setup_env.check_python((3, 11, 0), 'pypy')


@pytest.mark.parametrize('module', ['ensurepip', 'venv'])
def test_missing_ensurepip(setup_env, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)  # as where Debian has split it off
    with pytest.raises(setup_env.Problem, match=rf'no module .*{module}.*-venv'):
        setup_env.check_venv_modules()


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='the system libraries of Linux')
def test_missing_libraries(setup_env):
    setup_env.check_libraries(['libc.so.6'])
    with pytest.raises(setup_env.Problem, match='libnowhere.so.1.*apt-get install libgl1'):
        setup_env.check_libraries(['libc.so.6', 'libnowhere.so.1'])


def test_full_disk(setup_env, monkeypatch, tmp_path):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage._replace(free=3_100_000_000))
    setup_env.check_disk(tmp_path, 3_000_000_000)
    with pytest.raises(setup_env.Problem) as caught:
        setup_env.check_disk(tmp_path, 12_000_000_000)
    message = str(caught.value)
    for part in (str(tmp_path), '3.1 GB free', 'needs 12.0 GB', 'Free 8.9 GB more'):
        assert part in message


@pytest.fixture
def compiler(tmp_path):
    """A folder of programs with a stand-in ``c++`` and ``cc``, and another with ``Python.h``."""

    def make(body='exit 0'):
        folder, include = tmp_path / 'bin', tmp_path / 'include'
        folder.mkdir()
        include.mkdir()
        for name in ('c++', 'cc'):
            (folder / name).write_text(f'#!/bin/sh\n{body}\n')
            (folder / name).chmod(0o755)
        (include / 'Python.h').touch()
        return {'PATH': f'{folder}{os.pathsep}/bin', 'CC': 'cc'}, include

    return make


def test_a_working_toolchain(setup_env, compiler):
    environ, include = compiler()
    assert setup_env.toolchain_problem(environ, include) is None


@pytest.mark.parametrize(('variable', 'name'), [('CXX', 'c++'), ('CC', 'cc')])
def test_missing_compiler(setup_env, compiler, variable, name):
    environ, include = compiler()
    problem = setup_env.toolchain_problem({**environ, variable: 'nowhere-' + name}, include)
    assert f'no compiler nowhere-{name}' in problem
    assert 'apt-get install g++' in problem


def test_missing_headers(setup_env, compiler):
    environ, include = compiler()
    (include / 'Python.h').unlink()
    problem = setup_env.toolchain_problem(environ, include)
    assert str(include / 'Python.h') in problem
    assert 'apt-get install python3.' in problem and '-dev' in problem


def test_compiler_without_its_library(setup_env, compiler):
    environ, include = compiler('echo "fatal error: optional: No such file" >&2; exit 1')
    problem = setup_env.toolchain_problem(environ, include)
    assert 'does not compile C++17 (fatal error: optional' in problem


@pytest.mark.skipif(shutil.which('c++') is None, reason='no C++ compiler here')
def test_the_probe_is_a_program_that_a_real_compiler_takes(setup_env, tmp_path):
    (tmp_path / 'Python.h').touch()
    environ = {'PATH': os.environ['PATH'], 'CC': 'c++'}
    assert setup_env.toolchain_problem(environ, tmp_path) is None
    (tmp_path / 'Python.h').write_text('#error broken\n')
    assert 'does not compile' in setup_env.toolchain_problem(environ, tmp_path)


def test_build_variables(setup_env):
    def build(environ, **kwargs):
        defaults = dict(has_gpu=False, memory=64 * 10**9, cpus=4)
        return setup_env.build_environment(
            {'PATH': '/nowhere', **environ}, **{**defaults, **kwargs}
        )

    assert build({})['MAX_JOBS'] == '4'
    assert build({}, memory=4 * 10**9)['MAX_JOBS'] == '2'
    assert build({}, memory=10**9)['MAX_JOBS'] == '1'
    assert build({'MAX_JOBS': '7'})['MAX_JOBS'] == '7'
    assert build({'CFLAGS': '-O1'})['CFLAGS'] == '-g0 -O1'
    assert 'CUDA_VISIBLE_DEVICES' not in build({'CUDA_HOME': '/nowhere'})
    # A GPU that nothing can be compiled for must not make mmcv try.
    gpu = build({'CUDA_HOME': '/nowhere'}, has_gpu=True)
    assert gpu['CUDA_VISIBLE_DEVICES'] == ''


def test_known_failures_of_pip_are_translated(setup_env):
    explain = setup_env.explain_failure
    assert 'disk is full' in explain('OSError: [Errno 28] No space left on device')
    assert 'network' in explain('Max retries exceeded with url: /simple/torch/')
    assert 'MAX_JOBS=1' in explain('c++: fatal error: Killed signal terminated program cc1plus')
    assert explain('something new') is None


def test_progress_is_read_from_pip(setup_env):
    read = setup_env.progress_of
    assert read('  [12/140] c++ -MMD -MF a.o') == '12 of 140 files compiled'
    torch = 'Downloading torch-2.10.0-cp311-cp311-manylinux_2_28_x86_64.whl (915.6 MB)'
    assert read(torch) == 'downloading torch (915.6 MB)'
    assert read('Downloading six-1.17.0-py3-none-any.whl (11 kB)') is None
    assert read('Building wheel for onedl-mmcv (pyproject.toml): started') == 'building onedl-mmcv'
    assert read('Installing collected packages: a, b, c') == 'installing 3 packages'
    assert read('anything else') is None


def test_requirements_must_be_exact(setup_env, tmp_path):
    path = tmp_path / 'runtime.txt'
    path.write_text('# a comment\nScikit_Learn==1.9.1  # why\n\ntorch==2.10.0\n')
    assert setup_env.read_pins(path) == {'scikit-learn': '1.9.1', 'torch': '2.10.0'}
    path.write_text('torch>=2.10\n')
    with pytest.raises(setup_env.Problem, match=r"runtime.txt:1: .*'torch>=2.10'"):
        setup_env.read_pins(path)
