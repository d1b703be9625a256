"""The built wheel in an environment of its own, far from the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ('mixae', 'configs', 'tools', 'requirements', 'setup.py', 'pyproject.toml')
SOURCES += ('MANIFEST.in', 'LICENSE', 'CITATION.cff', 'README.md', 'model-index.yml')
CONFIG = """_base_ = 'mixae::mae/vitt_cifar10_2000e.py'
train_cfg = dict(max_epochs=1)
train_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False)
model = dict(backbone=dict(arch='mini'))
"""
CODE = """
import mixae, mixae.registry, torch
from mmengine.config import Config
assert 'site-packages' in mixae.__file__, mixae.__file__
cfg = Config.fromfile('own.py')
assert cfg.model.type == 'MAE', cfg.model.type
encoder = mixae.load_encoder('work_dirs/own/epoch_1.pth')
print(tuple(encoder.features(torch.zeros(2, 3, 32, 32)).shape))
"""


@pytest.fixture(scope='module')
def program(tmp_path_factory):
    """Runs a command in a fresh environment with the wheel; the rest is this environment's."""
    folder = tmp_path_factory.mktemp('installed')
    source = folder / 'source'
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns('__pycache__')
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source)
    pip = [sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check']
    build = [*pip, 'wheel', '--no-deps', '--no-build-isolation', '-w', folder, source]
    subprocess.run(build, check=True, capture_output=True)
    shutil.rmtree(source)
    venv.create(folder / 'venv', symlinks=True)
    python = folder / 'venv' / 'bin' / 'python'
    (site,) = (folder / 'venv').glob('lib/python*/site-packages')
    (site / 'others.pth').write_text(sysconfig.get_paths()['purelib'] + '\n')
    (wheel,) = folder.glob('*.whl')
    install = [*pip, '--python', python, 'install', '--no-deps', '--no-index', wheel]
    subprocess.run(install, check=True, capture_output=True)

    def run(cwd: Path, *words, **environ) -> subprocess.CompletedProcess:
        env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'} | environ
        command = [str(python.parent / words[0]), *map(str, words[1:])]
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)

    run.site = site
    return run


def works(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow  # builds a wheel and starts six programs that import torch
def test_everything_works_without_a_checkout(program, image_folder, tmp_path):
    data = f'train_dataloader.dataset.dataset.data_root={image_folder}'
    assert 'leaderboard' in works(program(tmp_path, 'mixae', '--help'))
    (tmp_path / 'own.py').write_text(CONFIG)
    # No compiler, no git: nothing is found on the PATH.
    works(program(tmp_path, 'mixae', 'train', 'own.py', '--cfg-options', data, PATH='/nowhere'))
    assert (tmp_path / 'work_dirs/own/epoch_1.pth').is_file()
    assert works(program(tmp_path, 'python', '-c', CODE)).endswith('(2, 96)\n')
    out = tmp_path / 'a.safetensors'
    words = ['export', 'work_dirs/own/epoch_1.pth', '--to', 'timm', '--out', out]
    works(program(tmp_path, 'python', '-m', 'mixae', *words))
    assert out.is_file()
    plan = works(program(tmp_path, 'mixae', 'suite', 'mixae::suites/demo.py', '--dry-run'))
    assert 'site-packages/mixae/.mim/configs' in plan


@pytest.mark.slow  # as above
def test_the_tool_that_mim_starts(program, image_folder, tmp_path):
    (tmp_path / 'own.py').write_text(CONFIG)
    tool = program.site / 'mixae/.mim/tools/train.py'
    data = f'train_dataloader.dataset.dataset.data_root={image_folder}'
    words = ['own.py', '--launcher', 'none', '--cfg-options', data]
    works(program(tmp_path, 'python', tool, *words))
    assert (tmp_path / 'work_dirs/own/epoch_1.pth').is_file()


@pytest.mark.slow  # as above
def test_mistakes_of_an_installation_are_one_line(program, tmp_path):
    done = program(tmp_path, 'mixae', 'train', 'configs/mae/vitb_800e.py')
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].endswith('Write mixae::mae/vitb_800e.py.')
