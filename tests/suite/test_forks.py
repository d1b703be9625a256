"""Runs as forks: they end, fail and are killed as processes of their own are, in the same bits."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from mixae.errors import BusyError
from mixae.files import lock_folder
from mixae.suite import processes
from mixae.suite.forks import Forks
from mixae.suite.plan import ROOT, Run, Suite
from mixae.suite.processes import Machine, forking, start_process, stop
from mixae.suite.run import open_suite, run_suite
from mixae.suite.state import Folder
from tests.processes import gone, is_alive
from tests.suite.stand_ins import MAE_CONFIG

PROGRAM = """
import atexit, json, os, random, signal, sys, threading, time
import numpy, torch
told = dict(
    argv=sys.argv, path=sys.path, cwd=os.getcwd(), name=__name__,
    main=sys.modules['__main__'].__file__, unbuffered=sys.stdout.write_through,
    threads=torch.get_num_threads(), pid=os.getpid(), file=os.readlink('/proc/self/fd/0'),
    leads=os.getpid() == os.getsid(0) == os.getpgid(0), omp=os.environ['OMP_NUM_THREADS'],
    handlers=[str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
    input=sys.stdin.read(),
)
drawn = [random.random(), numpy.random.rand(), torch.rand(()).item()]
print(json.dumps([told, drawn]))
atexit.register(print, 'the end')
torch.randn(300, 300) @ torch.randn(300, 300)
match sys.argv[1]:
    case 'exit': sys.exit(75)
    case 'error': raise ValueError('broken')
    case 'interrupt': raise KeyboardInterrupt
    case 'kill': os.kill(os.getpid(), signal.SIGKILL)
    case 'sleep': time.sleep(600)
    case 'deaf':
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print('deaf')
        time.sleep(600)
"""


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Starts the program above as run number i of a suite, as a fork or as a process."""
    program = tmp_path / 'program.py'
    program.write_text(PROGRAM)
    plan = tuple(Run(str(i), f'R{i}', 'train', MAE_CONFIG) for i in range(6))
    folder = Folder(tmp_path / 'w', Suite('s', 'S', plan, ('linear',)))
    monkeypatch.setenv('OMP_NUM_THREADS', '2')

    def begin(index, word, forks):
        words = [sys.executable, str(program), word, 'two words']
        monkeypatch.setattr(processes, 'command', lambda *_: words)
        return start_process(folder, plan[index], Machine(1, 2), forks=forks).popen

    begin.folder, begin.plan = folder, plan
    return begin


def told(folder, run):
    """What the program has written, after the line with its command."""
    until = time.monotonic() + 60
    log = folder.log(run)
    while not log.exists() or len(lines := log.read_text().splitlines()) < 2:
        assert time.monotonic() < until, 'waited in vain'
        time.sleep(0.02)
    return json.loads(lines[1]), lines[2:]


def test_a_fork_is_what_a_process_would_be(begin, monkeypatch):
    folder, plan = begin.folder, begin.plan
    monkeypatch.setattr(processes, 'MODULES', ())
    expected = dict(exit=75, error=1, interrupt=-2, kill=-9)
    seen, draws = {}, []
    with forking(plan, Machine(1, 2)) as forks:
        for index, (word, way) in enumerate([('error', None), *((w, forks) for w in expected)]):
            popen = begin(index, word, way)
            assert isinstance(popen, subprocess.Popen) == (way is None)
            assert popen.wait(60) == popen.poll() == expected[word]
            (about, drawn), rest = told(folder, plan[index])
            assert about.pop('pid') == popen.pid
            about['file'] = about['file'].replace(f'w/{index}/', '')
            seen[word, way] = about, rest[-2:]
            draws += drawn
        left = begin(5, 'sleep', forks)
    assert gone([left.pid], 10)
    assert seen['error', forks] == seen['error', None]
    assert seen['error', forks][1] == ['ValueError: broken', 'the end']
    assert seen['exit', forks][0]['threads'] == 2 and seen['exit', forks][1] == ['the end']
    assert len(set(draws)) == len(draws) == 15


def test_forks_are_stopped_and_hold_their_locks(begin):
    folder, plan = begin.folder, begin.plan
    with Forks(os.environ, ()) as forks:
        started = [begin(0, 'sleep', forks), begin(1, 'deaf', forks)]
        while told(folder, plan[1])[1][:1] != ['deaf']:
            time.sleep(0.02)
        assert [one.poll() for one in started] == [None, None]
        with pytest.raises(BusyError, match='at work on'):
            lock_folder(folder[plan[0]])
        with pytest.raises(subprocess.TimeoutExpired):
            started[0].wait(0.1)
        stop(started, patience=2)
        assert [one.returncode for one in started] == [-signal.SIGTERM, -signal.SIGKILL]
        assert not any(folder.is_running(run) for run in plan)
        # Who kills the process that it forks from, ends a run; the next is a process.
        left = begin(2, 'sleep', forks)
        os.kill(forks._server.pid, signal.SIGKILL)
        assert left.wait(10) == -signal.SIGTERM
        alone = begin(3, 'exit', forks)
        assert isinstance(alone, subprocess.Popen) and alone.wait(60) == 75


def test_forks_end_when_the_suite_is_killed(begin):
    folder, plan = begin.folder, begin.plan

    def suite():
        with Forks(os.environ, ()) as forks:
            begin(0, 'sleep', forks)
            time.sleep(600)

    killed = multiprocessing.get_context('fork').Process(target=suite, daemon=True)
    killed.start()
    pid = told(folder, plan[0])[0][0]['pid']
    assert is_alive(pid) and folder.is_running(plan[0])
    killed.kill()
    assert gone([pid], 10)
    lock_folder(folder[plan[0]], patience=10).close()


def test_where_runs_are_processes_of_their_own(begin, monkeypatch):
    several = [Run('a', 'A', 'train', MAE_CONFIG, gpus=2)]
    assert forking(several, Machine(1, 1)) is None
    assert forking(begin.plan, Machine(1, 1, gpus=1)) is None
    assert forking(begin.plan, Machine(1, 1), 'slurm') is None
    monkeypatch.setattr(sys, 'platform', 'darwin')
    assert forking(begin.plan, Machine(1, 1)) is None
    monkeypatch.undo()
    # A process that has threads, here by an import, forks nothing.
    threaded = begin.folder.path.parent / 'threaded.py'
    threaded.write_text('import threading, time\n')
    with open(threaded, 'a') as file:
        file.write('threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n')
    path = f'{threaded.parent}:{os.environ.get("PYTHONPATH", "")}'
    with Forks(os.environ | {'PYTHONPATH': path}, ['threaded']) as forks:
        assert isinstance(popen := begin(0, 'exit', forks), subprocess.Popen)
        assert popen.wait(60) == 75


@pytest.mark.slow
def test_forks_compute_the_same_bits(tmp_path, monkeypatch):
    from tests.faults.test_kills import assert_same, bits

    found = []
    for name in ('forks', 'processes'):
        folder, plan = open_suite(ROOT / 'tests/faults/small_suite.py', tmp_path / name)
        assert run_suite(folder, plan, Machine(2, 1)) == {}
        found.append(bits(tmp_path / name))
        monkeypatch.setattr('mixae.suite.run.forking', lambda *_: None)
    assert_same(*found)


def test_ctrl_c_is_not_lost_while_a_process_starts():
    """Python drops what a handler raises in the callbacks around a fork."""
    code = (
        'import os, signal, time\n'
        'from mixae.suite.forks import start_child\n'
        'signal.signal(signal.SIGINT, signal.default_int_handler)\n'
        'def press():\n'
        '    os.kill(os.getpid(), signal.SIGINT)\n'
        '    time.sleep(0.01)\n'
        'os.register_at_fork(after_in_parent=press)\n'
        'try:\n'
        "    start_child(['true'])\n"
        'except KeyboardInterrupt:\n'
        "    print('heard')\n"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == 'heard\n', done.stderr
