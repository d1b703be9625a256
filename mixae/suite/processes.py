"""Runs as processes of this machine, some at a time: command, start, watch, stop."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.distributed.elastic.utils.distributed import get_free_port

from mixae.errors import MixaeError, SuiteError
from mixae.files import lock_folder
from mixae.results.compare import leading_metric
from mixae.results.record import read_record
from mixae.suite.forks import MODULES, Fork, Forks, start_child
from mixae.suite.plan import ROOT, Run
from mixae.suite.progress import Display, duration, fraction_done, tail
from mixae.suite.read import check_whole
from mixae.suite.state import Folder


@dataclass(frozen=True)
class Machine:
    """What runs may take of this machine.

    Attributes:
        jobs (int): Runs at a time.
        threads (int): OpenMP threads of a process.
        gpus (int): GPUs of the machine; run number i at a time gets the i-th share of them.
    """

    jobs: int
    threads: int
    gpus: int = 0


@dataclass
class Process:
    """A run at work."""

    run: Run
    popen: subprocess.Popen | Fork
    started: float  # of time.monotonic()
    slot: int = 0


def this_machine(gpus_a_run: int = 1, jobs: int | None = None) -> Machine:
    """As many runs at a time as GPUs or cores allow, or ``jobs``.

    Small models gain little from a second thread: a CPU does one single-threaded run per core, at
    most 4. ``gpus_a_run`` is the processes of the largest run.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    gpus = torch.cuda.device_count()
    if jobs is None:
        jobs = max(1, gpus // gpus_a_run) if gpus else max(1, min(4, cores // gpus_a_run))
    check_whole('jobs', jobs)
    return Machine(jobs, max(1, cores // (jobs * gpus_a_run)), gpus)


def command(folder: Folder, run: Run, launcher: str = 'local') -> list[str]:
    """The command of a run that is not done; it resumes what was interrupted.

    It is a process, or ``tools/dist_train.sh`` for several; by the launcher 'slurm' it is ``srun``
    within an allocation. A checkpoint that is not there yet is written as '<name of its run>'.
    """
    target = str(ROOT / run.target)
    start = folder.start(run)
    if run.is_analysis:
        names = {
            '{out}': str(folder.path / f'{run.name}.png'),
            '{pretrain}': start,
            '{folder}': str(folder[folder.suite[run.start]]),
            '{records}': str(folder[run] / 'records'),
            **{f'{{{name}}}': folder.checkpoint(name) for name in run.uses},
        }
        filled = [names.get(argument, argument) for argument in run.arguments]
        filled = [str(ROOT / a) if a.startswith('configs/') else a for a in filled]
        return [sys.executable, target, *filled]
    positional = [target, start] if run.tool == 'test' else [target]
    tool = str(ROOT / 'tools' / f'{run.tool}.py')
    if launcher == 'slurm':
        words = ['srun', f'--ntasks={run.gpus}', f'--ntasks-per-node={gpus_of_a_node(run)}']
        words += [sys.executable, '-u', tool, *positional, '--launcher=slurm']
    elif run.gpus > 1:
        script = str(ROOT / 'tools' / f'dist_{run.tool}.sh')
        words = ['bash', script, *positional, str(run.gpus)]
    else:
        words = [sys.executable, tool, *positional]
    if run.tool == 'train' and start:
        words += ['--pretrained', start]
    words += ['--work-dir', str(folder[run]), '--options-file', str(folder.options(run))]
    if run.budget and run.is_evaluation:
        words += ['--budget', run.budget]
    return [*words, '--resume'] if folder.can_resume(run) else words


def gpus_of_a_node(run: Run) -> int:
    """Of the nodes of a SLURM job, as $GPUS_PER_NODE says, or 8."""
    return min(run.gpus, int(os.environ.get('GPUS_PER_NODE', 8)))


def forking(plan: Sequence[Run], machine: Machine, launcher: str = 'local') -> Forks | None:
    """The process that imports once for all runs; None where runs are processes of their own.

    That is on a GPU, which a fork cannot use once its parent has seen it, under SLURM, for runs of
    several processes, and where the system is not Linux.
    """
    single = [run for run in plan if run.gpus == 1]
    if sys.platform != 'linux' or launcher != 'local' or machine.gpus or not single:
        return None
    return Forks(environment(single[0], machine, 0, launcher), MODULES)


def start_process(
    folder: Folder,
    run: Run,
    machine: Machine,
    slot: int = 0,
    launcher: str = 'local',
    forks: Forks | None = None,
) -> Process:
    """Start a run that is not done; its output goes into its log.

    Args:
        folder, run, machine, launcher: See :func:`run_plan`.
        slot (int): Its number among the runs at a time.
        forks (Forks, optional): Of :func:`forking`; a run of one process becomes a fork.

    Raises:
        BusyError: Another process is at work on it.
        SuiteError: Another process has done it.
        OutputError: The work directory cannot be written.
    """
    with lock_folder(folder[run], patience=2.0) as lock:
        if folder.is_done(run):
            raise SuiteError(f'{run.title} has been done meanwhile.')
        folder.begin(run)
        words = command(folder, run, launcher)
        with open(folder.log(run), 'wb') as log:
            log.write(f'$ {shlex.join(words)}\n'.encode())
            log.flush()
            popen = forks and run.gpus == 1 and forks.start(words, lock.fileno(), log.fileno())
            # Ctrl-C is for the suite, which ends its runs itself.
            popen = popen or start_child(
                words,
                env=environment(run, machine, slot, launcher),
                # The lock is held for as long as any process of the run lives. Of what it
                # inherits, torchrun hands only the standard files on to its ranks: hence as the
                # standard input, which is empty.
                stdin=lock,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
    return Process(run, popen, time.monotonic(), slot)


def environment(run: Run, machine: Machine, slot: int, launcher: str) -> dict[str, str]:
    """The environment of a run: its share of the machine."""
    environ = {'PYTHONUNBUFFERED': '1', 'PYTHONWARNINGS': 'ignore', 'PYTHON': sys.executable}
    if launcher == 'local':
        # Threads that wait by spinning would take the other run's core.
        environ |= {'OMP_NUM_THREADS': str(machine.threads), 'OMP_WAIT_POLICY': 'PASSIVE'}
        if run.gpus > 1:
            environ['PORT'] = str(get_free_port())
        if machine.gpus:
            first = slot * run.gpus % machine.gpus
            given = os.environ.get('CUDA_VISIBLE_DEVICES', '')
            names = given.split(',') if given else [str(i) for i in range(machine.gpus)]
            environ['CUDA_VISIBLE_DEVICES'] = ','.join(names[first : first + run.gpus])
    return {**os.environ, **environ}


def run_plan(
    plan: Sequence[Run],
    folder: Folder,
    machine: Machine,
    display: Display,
    start: Callable[..., Process] = start_process,
    launcher: str = 'local',
    pause: float = 0.5,
) -> dict[str, str]:
    """Run what is not done, each as soon as what it needs is done.

    A run that fails is reported, and those that need it are left out; the others go on.

    Returns:
        dict: What failed or was left out, and why.
    """
    done = {run.name for run in plan if folder.is_done(run)}
    waiting = [run for run in plan if run.name not in done]
    running: list[Process] = []
    failed: dict[str, str] = {}

    def fail(run: Run, why: str) -> None:
        failed[run.name] = f'{run.title} {why}'
        display.end(run, why)

    def begin(run: Run, slot: int) -> None:
        try:
            running.append(start(folder, run, machine, slot, launcher))
            display.begin(run, folder.state(run).get('resumed', False))
        except (MixaeError, OSError) as error:
            if folder.is_done(run):  # by another suite, which holds it no longer
                done.add(run.name)
                display.end(run, 'done by another suite')
            else:
                fail(run, f'was not started: {error}')

    def end(run: Run, code: int, seconds: float) -> None:
        try:
            if code:
                raise SuiteError(describe_failure(code, folder.log(run)))
            folder.finish(run, seconds)
            done.add(run.name)
            display.end(run, f'{headline(folder, run)}{duration(seconds)}')
        except (MixaeError, OSError) as error:
            with suppress(MixaeError):  # the disk may be what has failed
                folder.fail(run, str(error))
            fail(run, f'failed: {error}\nIts whole output: {folder.log(run)}')

    try:
        while waiting or running:
            for run in list(waiting):
                free = sorted(set(range(machine.jobs)) - {process.slot for process in running})
                if lost := [name for name in run.needs if name in failed]:
                    waiting.remove(run)
                    fail(run, f'was left out: it needs {lost[0]}.')
                elif free and done.issuperset(run.needs):
                    waiting.remove(run)
                    begin(run, free[0])
            time.sleep(pause)
            for process in list(running):
                run, code = process.run, process.popen.poll()
                display.update(run, fraction_done(tail(folder.log(run)), run))
                if code is not None:
                    running.remove(process)
                    end(run, code, time.monotonic() - process.started)
    finally:
        stop([process.popen for process in running])
    return failed


def headline(folder: Folder, run: Run) -> str:
    """A finished evaluation's metric in the table's first column, and ', '; or nothing."""
    if not run.is_evaluation:
        return ''
    if len(folder.results(run)) > 1:
        return f'{len(folder.results(run))} records, '
    record = read_record(folder.output(run))
    name = leading_metric(record, folder.suite.columns)
    metric = record['metrics'][name]
    if metric['value'] is None:
        return f'{name} undefined, '
    return f'{name} {metric["value"]:.3g}{" %" if metric["unit"] == "%" else ""}, '


def describe_failure(code: int, log: Path) -> str:
    """How a run has ended, and why if the last lines of its output tell."""
    lines = [line for line in tail(log).splitlines() if line.strip()] or ['it printed nothing']
    told = [line for line in lines[-40:] if re.match(r'error: |\w*(Error|Exception)\b', line)]
    how = f'ended by signal {-code}' if code < 0 else f'exit status {code}'
    return f'{how}: {(told or lines)[-1]}'


def stop(processes: Sequence[subprocess.Popen | Fork], patience: float = 40.0) -> None:
    """End runs and what they have started; torchrun takes up to 30 s to end its ranks."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for popen in processes:
            with suppress(ProcessLookupError):
                os.killpg(popen.pid, number)
        until = time.monotonic() + patience
        for popen in processes:
            with suppress(subprocess.TimeoutExpired):
                popen.wait(max(0.0, until - time.monotonic()))
