"""The command `mixae`: it finds every tool, quickly, and hands on what it is given."""

import os
import subprocess
import sys

import pytest

from mixae.cli import COMMANDS, find_tool
from mixae.files import ROOT, find_config


@pytest.mark.parametrize(
    'words, tool, name',
    [
        (['train', 'a.py'], 'train.py', 'mixae train'),
        (['suite', 'a.py'], 'run_suite.py', 'mixae suite'),
        (['export', 'a.py'], 'checkpoints/export.py', 'mixae export'),
        (
            ['draw', 'reconstructions', 'a.py'],
            'analysis/reconstructions.py',
            'mixae draw reconstructions',
        ),
    ],
)
def test_a_command_is_its_tool(words, tool, name):
    assert find_tool(words) == (ROOT / 'tools' / tool, name, ['a.py'])


def test_every_command_has_its_tool():
    for tool, _ in COMMANDS.values():
        assert (ROOT / 'tools' / tool).exists()


@pytest.mark.parametrize(
    'words, message',
    [
        (['trian'], 'Did you mean train?'),
        (['draw', 'reconstruction'], 'Did you mean reconstructions?'),
    ],
)
def test_an_unknown_command_is_one_line(words, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        find_tool(words)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and error.count('\n') == 1


def test_help_imports_nothing_heavy():
    code = (
        'import sys, mixae.cli\n'
        'try: mixae.cli.find_tool(["--help"])\n'
        'except SystemExit as stopped: assert stopped.code == 0\n'
        'print([m for m in ("torch", "mmengine", "numpy") if m in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.endswith('[]\n') and 'leaderboard' in done.stdout, done.stderr


def test_python_m_mixae_runs_a_tool(tmp_path):
    command = [sys.executable, '-m', 'mixae', 'leaderboard']
    done = subprocess.run(
        [*command, '--help'], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith('usage: mixae leaderboard')
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and 'no run record' in done.stderr


def test_in_another_checkout_it_says_whose_code_runs(tmp_path):
    (tmp_path / 'mixae').mkdir()
    (tmp_path / 'mixae' / 'version.py').touch()
    code = 'import mixae.cli; mixae.cli.main()'
    command = [sys.executable, '-P', '-c', code, 'leaderboard', '--help']
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    for cwd, lines in ((ROOT, 0), (tmp_path, 1)):
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr.count('\n') == lines, done.stderr
    assert f'warning: the code at work is that of {ROOT / "mixae"}' in done.stderr


def test_names_of_shipped_configs():
    assert find_config('mixae::mae/vitb_800e.py') == ROOT / 'configs/mae/vitb_800e.py'
    assert str(find_config('configs/a.py')) == 'configs/a.py'


def test_a_config_inherits_one_that_mixae_ships(tmp_path):
    from mmengine.config import Config

    from mixae.engine.launch import default_work_dir, read_config

    own = tmp_path / 'own.py'
    own.write_text("_base_ = 'mixae::mixedae/vitb_800e.py'\ntrain_cfg = dict(max_epochs=3)\n")
    theirs = Config.fromfile(ROOT / 'configs/mixedae/vitb_800e.py')
    cfg = read_config(own)
    assert cfg.train_cfg.max_epochs == 3 and cfg.model == theirs.model
    assert read_config('mixae::mixedae/vitb_800e.py').to_dict() == theirs.to_dict()
    assert default_work_dir('mixae::mae/vitb_800e.py').as_posix() == 'work_dirs/mae/vitb_800e'


def test_a_shipped_config_outside_a_checkout_is_named_in_the_error(tmp_path, monkeypatch):
    from mixae.engine.launch import read_config
    from mixae.errors import ConfigError, SuiteError
    from mixae.suite.plan import load_suite

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match='mixae::mae/vitb_800e.py'):
        read_config('configs/mae/vitb_800e.py')
    with pytest.raises(SuiteError, match='mixae::suites/demo.py'):
        load_suite('configs/suites/demo.py')
