"""Runs as processes: commands, locks, failures, and what a kill leaves behind."""

import argparse
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from mixae.engine.launch import add_common_arguments, load_config
from mixae.errors import BusyError
from mixae.files import lock_folder
from mixae.suite import processes
from mixae.suite.plan import ROOT, Run, Suite
from mixae.suite.processes import Machine, command, environment, start_process, stop, this_machine
from mixae.suite.state import Folder
from tests.processes import is_alive
from tests.suite.stand_ins import ALL, LINEAR_CONFIG, MAE_CONFIG, FakeRuns, small_suite


def test_several_processes_go_through_torchrun_and_slurm(tmp_path):
    run = Run('a', 'A', 'train', MAE_CONFIG, gpus=8, options={'randomness.seed': 1})
    probe = Run('b', 'B', 'test', LINEAR_CONFIG, 'scratch', gpus=2, budget='two words')
    folder = Folder(tmp_path, Suite('s', 'S', (run, probe), ('linear',)))
    words = command(folder, run)
    assert words[:4] == [
        'bash',
        str(ROOT / 'tools/dist_train.sh'),
        str(ROOT / MAE_CONFIG),
        '8',
    ]
    words = command(folder, probe)
    assert words[1:5] == [
        str(ROOT / 'tools/dist_test.sh'),
        str(ROOT / LINEAR_CONFIG),
        'scratch',
        '2',
    ]
    assert words[words.index('--budget') + 1] == 'two words'
    words = command(folder, run, 'slurm')
    assert words[:3] == ['srun', '--ntasks=8', '--ntasks-per-node=8']
    assert '--launcher=slurm' in words and str(ROOT / 'tools/train.py') in words


def test_a_machine_runs_as_many_at_a_time_as_it_has_cores_for(monkeypatch):
    monkeypatch.setattr(processes.torch.cuda, 'device_count', lambda: 0)
    monkeypatch.setattr(processes.os, 'sched_getaffinity', lambda _: set(range(2)), raising=False)
    assert this_machine() == Machine(2, 1)
    assert this_machine(jobs=1) == Machine(1, 2)
    assert this_machine(gpus_a_run=8) == Machine(1, 1)
    monkeypatch.setattr(processes.torch.cuda, 'device_count', lambda: 8)
    assert this_machine(gpus_a_run=4).jobs == 2


def test_runs_at_a_time_share_the_gpus_that_are_given(monkeypatch):
    run, machine = Run('a', 'A', 'train', MAE_CONFIG, gpus=2), Machine(2, 3, gpus=4)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    assert environment(run, machine, 0, 'local')['CUDA_VISIBLE_DEVICES'] == '0,1'
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '7,5,3,1')
    found = environment(run, machine, 1, 'local')
    assert found['CUDA_VISIBLE_DEVICES'] == '3,1' and found['OMP_NUM_THREADS'] == '3'
    assert found['PORT'] != environment(run, machine, 0, 'local')['PORT']
    assert environment(run, machine, 1, 'slurm')['CUDA_VISIBLE_DEVICES'] == '7,5,3,1'


def test_what_cannot_be_started_does_not_end_the_others(call):
    held = []

    class Contested(FakeRuns):
        def __call__(self, folder, run, *args):
            if run.name == 'b':
                held.append(lock_folder(folder[run]))
                lock_folder(folder[run], patience=0.2)  # another suite has it
            if run.name == 'tune_a':
                raise FileNotFoundError('the disk is gone')
            return super().__call__(folder, run, *args)

    commands = call(small_suite(), Contested)
    assert set(commands) == set(ALL) - {'b', 'probe_b', 'p/icture', 'tune_a'}
    assert set(call.failed) == {'b', 'probe_b', 'p/icture', 'tune_a'}
    assert 'at work on' in call.failed['b'] and 'the disk is gone' in call.failed['tune_a']
    held[0].close()


def test_a_run_that_fails_is_reported_and_only_what_needs_it_left_out(call):
    commands = call(small_suite(), failing='b')
    assert set(commands) == set(ALL) - {'probe_b', 'p/icture'}
    assert set(call.failed) == {'b', 'probe_b', 'p/icture'}
    assert re.search(r'B failed: .*ValueError: broken\n.*b/output\.log', call.failed['b'])
    assert 'it needs b' in call.failed['probe_b']
    assert call.folder.status(call.folder.suite['b']) == 'failed'
    assert sorted(call(small_suite())) == ['b', 'p/icture', 'probe_b']
    assert call.failed == {}


def test_a_run_that_leaves_no_result_is_no_success(call, monkeypatch):
    monkeypatch.setattr('mixae.suite.state.checkpoints', lambda folder: [])
    call(small_suite())
    assert 'it left no result' in call.failed['a']


@pytest.mark.parametrize(
    'value',
    [
        'two words,  and two blanks',
        'a,b',
        '[1, 2]',
        '007',
        '1e3',
        'None',
        'true',
        '(',
        "it's = 1",
        'Größe',
        '',
        0,
        -3,
        1e-05,
        0.1 + 0.2,
        None,
        True,
        [1, [2.0, 'x, y'], []],
        {'a': {'b': [None]}},
    ],
    ids=repr,
)
def test_overrides_arrive_as_they_are(tmp_path, value):
    run = Run('a', 'A', 'train', MAE_CONFIG, options={'model.one': value, 'model.two': [value]})
    folder = Folder(tmp_path / 'my data, too', Suite('s', 'S', (run,), ('linear',)))
    folder.begin(run)
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    add_common_arguments(parser)
    arguments = command(folder, run)[2:]
    cfg = load_config(parser.parse_args(arguments))
    model = cfg.to_dict()['model']
    assert model['one'] == value and type(model['one']) is type(value)
    assert model['two'] == [value] and model == run.config().to_dict()['model']
    assert cfg.work_dir == str(folder[run])
    # What is typed comes last.
    cfg = load_config(parser.parse_args([*arguments, '--cfg-options', 'model.two=7']))
    assert cfg.model.two == 7


# ---- locks and kills --------------------------------------------------------------------------

RANK = """
import os, pathlib, time
pathlib.Path(os.environ['RANKS'], str(os.getpid())).touch()
time.sleep(600)
"""


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, 'waited in vain'
        time.sleep(0.05)


@pytest.fixture
def ranks(tmp_path, monkeypatch):
    """A suite whose run is two ranks that sleep; returns the folder, the run and their numbers."""
    (tmp_path / 'rank.py').write_text(RANK)
    seen = tmp_path / 'ranks'
    seen.mkdir()
    monkeypatch.setenv('RANKS', str(seen))
    run = Run('a', 'A', 'train', MAE_CONFIG, gpus=2)
    folder = Folder(tmp_path / 'w', Suite('s', 'S', (run,), ('linear',)))
    words = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2']
    words += ['--master_addr=127.0.0.1', '--master_port=0', str(tmp_path / 'rank.py')]
    monkeypatch.setattr(processes, 'command', lambda *_: words)

    def pids():
        return [int(path.name) for path in seen.iterdir()]

    yield folder, run, pids
    for pid in pids():
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_the_lock_is_held_for_as_long_as_a_rank_lives(ranks):
    folder, run, pids = ranks
    process = start_process(folder, run, Machine(1, 1))
    wait_for(lambda: len(pids()) == 2)
    process.popen.kill()
    process.popen.wait(30)
    first, second = pids()
    assert is_alive(first) and is_alive(second), 'the test needs ranks that outlive torchrun'
    for pid in (first, second):
        assert folder.is_running(run)
        with pytest.raises(BusyError, match='at work on'):
            lock_folder(folder[run])
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: not is_alive(pid))
    wait_for(lambda: not folder.is_running(run))


def test_runs_end_when_the_suite_is_killed_or_stops_them(ranks):
    folder, run, pids = ranks

    def suite():
        start_process(folder, run, Machine(1, 1))
        time.sleep(600)

    killed = multiprocessing.get_context('fork').Process(target=suite)
    killed.start()
    wait_for(lambda: len(pids()) == 2)
    killed.kill()
    wait_for(lambda: not any(map(is_alive, pids())))
    wait_for(lambda: not folder.is_running(run))
    process = start_process(folder, run, Machine(1, 1))
    wait_for(lambda: len(pids()) == 4)
    stop([process.popen])
    assert process.popen.returncode is not None and not any(map(is_alive, pids()))


def test_a_run_that_ignores_the_first_signal_is_killed():
    program = 'import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=1)'
    popen = subprocess.Popen(
        [sys.executable, '-c', f'{program}; time.sleep(600)'],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    popen.stdout.readline()
    stop([popen], patience=0.5)
    assert popen.returncode == -signal.SIGKILL
    popen.stdout.close()
