"""Mistakes at the command line: each is one line, and nothing has run."""

import re
import runpy
import shlex
import signal
import subprocess
import sys

import pytest

from mixae.suite.plan import ROOT

DEMO = 'configs/suites/demo.py'
CONFIG = 'configs/mae/vitmini_digits_12e.py'
SUITE = 'tools/run_suite.py'
FILES = {
    'model.pth': 'no text \0',
    'broken.py': 'pretrain = dict(',
    'fails.py': 'columns = [nothing]',
    'typo.py': f"pretrain = dict(m=dict(config='{CONFIG}', options={{'base_lr.x': 1}}))\n"
    f"evaluate = dict(l=dict(tool='test', config='{CONFIG}'))\ncolumns = ['linear']",
}


@pytest.fixture
def tool(tmp_path, monkeypatch, capsys):
    """Runs a command line in this process; returns its exit status and what it says."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv('PATH', str(tmp_path))  # without SLURM
    handlers = {number: signal.getsignal(number) for number in (1, 2, 15)}

    def tool(command):
        words = [word.replace('TMP', str(tmp_path)) for word in shlex.split(command)]
        monkeypatch.setattr(sys, 'argv', words)
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / words[0]), run_name='__main__')
        return end.value.code, capsys.readouterr().err

    yield tool
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    'command, said',
    [
        # What is no suite.
        (f'{SUITE}', 'the following arguments are required: suite'),
        (f'{SUITE} nothing.py', 'There is no suite nothing.py.'),
        (f'{SUITE} configs/suites/dmeo.py', f'no suite .*; did you mean {DEMO}'),
        (f'{SUITE} configs/suites', 'There is no suite configs/suites'),
        (f'{SUITE} {CONFIG}', f'{CONFIG} is the config of one run, for tools/train.py'),
        (f'{SUITE} README.md', 'README.md is no config'),
        (f'{SUITE} TMP/model.pth', 'model.pth is no config'),
        (f'{SUITE} TMP/broken.py', 'broken.py is no config: SyntaxError'),
        (f'{SUITE} TMP/fails.py', "fails.py is no config: NameError: name 'nothing'"),
        (f'{SUITE} TMP/typo.py', 'm_seed0/pretrain: options do not fit .*base_lr'),
        # Numbers out of range, or none.
        *(
            (f'{SUITE} {DEMO} {more} {option}={value}', f'{option[2:]}={value}: expected a whole')
            for option in ('--jobs', '--gpus')
            for value in ('0', '-1')
            for more in ('', '--dry-run')
        ),
        (f'{SUITE} {DEMO} --jobs two', "argument --jobs: invalid int value: 'two'"),
        (f'{SUITE} {DEMO} --seeds -1', 'seeds=-1: expected a whole number, 0 or more'),
        (f'{SUITE} {DEMO} --seeds 1 1', r'seeds=\[1, 1\] must be different'),
        (f'{SUITE} {DEMO} --seeds 0.5', "argument --seeds: invalid int value: '0.5'"),
        # Words that are not known.
        (f'{SUITE} {DEMO} --only mae_seed0/liner', 'no run .*did you mean mae_seed0/linear'),
        (
            f'{SUITE} {DEMO} --only mae_seed7/linear',
            "Suite demo has no run 'mae_seed7/linear'; did",
        ),
        (f'{SUITE} {DEMO} --on-change maybe', "--on-change: invalid choice: 'maybe'"),
        (f'{SUITE} {DEMO} --launcher pbs', "--launcher: invalid choice: 'pbs'"),
        (f'{SUITE} {DEMO} --job', 'argument --jobs: expected one argument'),
        (f'{SUITE} {DEMO} --quick', 'unrecognized arguments: --quick'),
        # Where there is no SLURM.
        (f'{SUITE} {DEMO} --slurm gpu', 'There is no sbatch on this machine'),
        (f'{SUITE} {DEMO} --launcher slurm --work-dir TMP/w', 'There is no srun on this machine'),
        (f'{SUITE} {DEMO} --slurm gpu --sbatch-args "\'"', 'argument --sbatch-args: invalid'),
        # Where nothing can be written.
        (f'{SUITE} {DEMO} --work-dir README.md', 'README.md is a file'),
        (f'{SUITE} {DEMO} --work-dir README.md --dry-run', 'README.md is a file'),
        (f'{SUITE} {DEMO} --work-dir README.md/w', 'README.md/w cannot be written'),
        (f'{SUITE} {DEMO} --work-dir /proc/1/w', '/proc/1/w cannot be written'),
        # A suite is no config.
        (f'tools/train.py {DEMO}', f'{DEMO} is a suite'),
        (f'tools/test.py {DEMO} scratch', f'{DEMO} is a suite'),
        (f'tools/analysis/reconstructions.py {DEMO} x.pth --out x.png', f'{DEMO} is a suite'),
        (f'tools/analysis/draw_predictions.py {DEMO} x.pth --out x.png', f'{DEMO} is a suite'),
        # Overrides from a file.
        (f'tools/train.py {CONFIG} --options-file TMP/no.json', 'no.json cannot be read'),
        (f'tools/train.py {CONFIG} --options-file TMP/broken.py', 'broken.py cannot be read'),
        (f'tools/train.py {CONFIG} --options-file TMP/model.pth', 'model.pth cannot be read'),
        (f'tools/train.py {CONFIG} --options-file TMP/list.json', 'holds no JSON object'),
    ],
)
def test_a_mistake_ends_in_one_line(tool, tmp_path, command, said):
    (tmp_path / 'list.json').write_text('[1]')
    code, text = tool(command)
    assert code in (1, 2)
    (line,) = [line for line in text.splitlines() if 'error: ' in line]
    assert re.search(said, line)
    assert 'Traceback' not in text and not (tmp_path / 'w').exists()


@pytest.mark.parametrize(
    'until, code, said',
    [
        (r'\| +numpy$', -signal.SIGINT, ''),  # while modules are imported
        ('runs to do', 130, 'interrupted; the same command goes on where it was'),
    ],
)
def test_ctrl_c_is_no_traceback(tmp_path, until, code, said):
    process = subprocess.Popen(
        [sys.executable, '-u', '-X', 'importtime', SUITE, DEMO, '--work-dir', str(tmp_path / 'w')],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for line in process.stdout:
        if re.search(until, line):
            break
    else:
        raise AssertionError(f'it ended before {until!r}')
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(60) == code
    assert said in rest and 'Traceback' not in rest
