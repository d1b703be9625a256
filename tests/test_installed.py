"""Whose code runs: a tool with another checkout's package, packages installed over each other."""

import base64
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mixae.files import ROOT

CHECK = 'from mixae.installed import check_installed\ncheck_installed()\nprint("works")\n'


def run(*command, **environ) -> subprocess.CompletedProcess:
    env = {**os.environ, 'PYTHONPATH': str(ROOT), **environ}
    return subprocess.run(
        [sys.executable, *map(str, command)], env=env, capture_output=True, text=True
    )


@pytest.fixture
def site(tmp_path) -> Path:
    """A folder of packages that holds onedl-mmcv as pip installs it."""
    package, info = tmp_path / 'mmcv', tmp_path / 'onedl_mmcv-2.3.6.dist-info'
    package.mkdir()
    info.mkdir()
    (package / '__init__.py').touch()
    (package / 'version.py').write_text('own')
    digest = base64.urlsafe_b64encode(hashlib.sha256(b'own').digest()).decode().rstrip('=')
    (info / 'RECORD').write_text(f'mmcv/__init__.py,,\nmmcv/version.py,sha256={digest},3\n')
    return tmp_path


def test_a_tool_of_another_checkout_does_not_run(tmp_path):
    for name in ('tools', 'mixae'):
        (tmp_path / name).mkdir()
    tool = tmp_path / 'tools' / 'train.py'
    tool.write_text(CHECK)
    assert run(tool).stdout == 'works\n'  # a folder named tools, of some other project
    (tmp_path / 'mixae' / 'version.py').touch()
    done = run(tool)
    assert (done.returncode, done.stdout) == (1, '')
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'error: This tool is of {tmp_path}, but Python imports mixae from')
    assert f'pip install -e {tmp_path}' in line


@pytest.mark.parametrize('change', ['2.1.0', None])
def test_packages_over_each_other_are_named(site, change):
    path = f'{site}{os.pathsep}{ROOT}'
    assert run('-c', CHECK, PYTHONPATH=path).stdout == 'works\n'
    version = site / 'mmcv' / 'version.py'
    version.unlink() if change is None else version.write_text(f"__version__ = '{change}'")
    done = run('-c', CHECK, PYTHONPATH=path)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith('mixae.errors.InstallError: Another package was installed over onedl-mm')
    assert 'pip uninstall -y mmcv onedl-mmcv' in line
    # The tools say it without a traceback.
    done = run('-m', 'mixae', 'train', '--help', PYTHONPATH=path)
    (line,) = done.stderr.splitlines()
    assert line.startswith('error: Another package') and done.returncode == 1
