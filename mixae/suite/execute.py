"""Runs as processes of this machine, some at a time, or as jobs of SLURM."""

import ctypes
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mixae.errors import RecordError, SuiteError
from mixae.results.compare import leading_metric
from mixae.suite.folder import Folder
from mixae.suite.plan import Run
from mixae.suite.progress import Display, duration, estimate, fraction_done, tail


@dataclass
class Process:
    """A run at work, and what is needed to say how it ended."""

    run: Run
    popen: subprocess.Popen
    log: Path
    before: set[Path]
    max_epochs: int | None
    started: float
    slot: int = 0


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


def this_machine(gpus_a_run: int = 1, jobs: int | None = None) -> Machine:
    """As many runs at a time as GPUs or cores allow.

    Small models gain little from a second thread: a CPU runs one single-threaded run a core, at
    most 4.

    Args:
        gpus_a_run (int): Processes of the largest run.
        jobs (int, optional): Runs at a time, in place of that. Defaults to None.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    gpus = torch.cuda.device_count()
    if not jobs:
        jobs = max(1, gpus // gpus_a_run) if gpus else max(1, min(4, cores // gpus_a_run))
    return Machine(jobs, max(1, cores // (jobs * gpus_a_run)), gpus)


def _die_with_parent() -> None:
    """In a child: end when the suite is killed, where the system can do that (Linux)."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        pass


def start_process(
    folder: Folder, run: Run, machine: Machine, slot: int = 0, launcher: str = 'local'
) -> Process:
    """Start a run that is not done; its output goes into its log.

    Raises:
        SuiteError: Another process is at work on it, or has done it.
    """
    lock = folder.lock(run, patience=2.0)
    try:
        if folder.is_done(run):
            raise SuiteError(f'{run.title} has been done meanwhile.')
        command, before = folder.begin(run, launcher)
        environ = dict(os.environ)
        if launcher == 'local':
            # Threads that wait by spinning would take the other run's core.
            environ |= {'OMP_NUM_THREADS': str(machine.threads), 'OMP_WAIT_POLICY': 'PASSIVE'}
            environ |= {'PORT': str(29500 + slot)}
            if machine.gpus:
                first = slot * run.gpus % machine.gpus
                given = os.environ.get('CUDA_VISIBLE_DEVICES', '')
                names = given.split(',') if given else [str(i) for i in range(machine.gpus)]
                environ |= {'CUDA_VISIBLE_DEVICES': ','.join(names[first : first + run.gpus])}
        environ |= {'PYTHONUNBUFFERED': '1', 'PYTHONWARNINGS': 'ignore', 'PYTHON': sys.executable}
        with open(folder.log(run), 'wb') as log:
            log.write(f'$ {shlex.join(command)}\n'.encode())
            log.flush()
            popen = subprocess.Popen(
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the suite, which ends its runs itself
                preexec_fn=_die_with_parent,
                pass_fds=[lock],  # held as long as the run lives, also when the suite is killed
            )
    finally:
        os.close(lock)
    max_epochs = None
    if run.tool == 'train':
        max_epochs = folder.config(run).train_cfg.get('max_epochs')
    return Process(run, popen, folder.log(run), before, max_epochs, time.monotonic(), slot)


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

    def ended(process: Process, code: int) -> None:
        run, seconds = process.run, time.monotonic() - process.started
        try:
            if code != 0:
                raise SuiteError(describe_failure(run, code, process.log))
            folder.finish(run, process.before, seconds)
        except (SuiteError, RecordError, OSError) as error:
            failed[run.name] = str(error)
            folder.fail(run, str(error))
            display.end(run, f'FAILED\n{error}')
            return
        done.add(run.name)
        # Its time tells how long its repeats with other seeds will take.
        display.weigh({other.name: estimate(folder, other).seconds for other in plan})
        result = headline(folder, run)
        display.end(run, f'{result}{", " if result else ""}{duration(seconds)}')

    try:
        while waiting or running:
            for run in list(waiting):
                if lost := [name for name in run.needs if name in failed]:
                    waiting.remove(run)
                    failed[run.name] = f'{run.title} was left out: it needs {lost[0]}.'
                    display.end(run, f'left out, it needs {lost[0]}')
            ready = [run for run in waiting if done.issuperset(run.needs)]
            free = sorted(set(range(machine.jobs)) - {process.slot for process in running})
            for run, slot in zip(ready, free, strict=False):
                waiting.remove(run)
                try:
                    process = start(folder, run, machine, slot, launcher)
                except (SuiteError, OSError) as error:
                    if folder.is_done(run):  # by another suite, which holds it no longer
                        done.add(run.name)
                        display.end(run, 'done by another suite')
                    else:
                        failed[run.name] = f'{run.title} was not started: {error}'
                        display.end(run, f'not started\n{error}')
                    continue
                running.append(process)
                display.begin(run, folder.state(run).get('resumed', False))
            time.sleep(pause)
            for process in list(running):
                code = process.popen.poll()
                if code is None:
                    log = tail(process.log)
                    display.update(process.run, fraction_done(log, process.run, process.max_epochs))
                    continue
                running.remove(process)
                ended(process, code)
    finally:
        for process in running:
            _stop(process.popen)
    return failed


def headline(folder: Folder, run: Run) -> str:
    """A finished evaluation's metric in the table's first column; '' for other runs."""
    if not run.is_evaluation:
        return ''
    if len(folder.results(run)) > 1:
        return f'{len(folder.results(run))} records'
    record = folder.record(run)
    name = leading_metric(record, folder.suite.columns)
    metric = record['metrics'][name]
    if metric['value'] is None:
        return f'{name} undefined'
    unit = ' %' if metric['unit'] == '%' else ''
    return f'{name} {metric["value"]:.3g}{unit}'


def _stop(popen: subprocess.Popen) -> None:
    for number, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        try:
            os.killpg(popen.pid, number)
            popen.wait(patience)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def describe_failure(run: Run, code: int, log: Path) -> str:
    """What failed, why if its last lines tell, and where the whole output is."""
    lines = [line for line in tail(log).splitlines() if line.strip()]
    told = [line for line in lines[-40:] if re.match(r'error: |\w*(Error|Exception)\b', line)]
    how = f'was ended by signal {-code}' if code < 0 else f'failed (exit status {code})'
    reason = told[-1] if told else (lines[-1] if lines else 'it printed nothing')
    return f'{run.title} {how}: {reason}\nIts whole output: {log}'


# ---- SLURM ------------------------------------------------------------------------------------


def submit(
    plan: Sequence[Run],
    folder: Folder,
    suite_command: Sequence[str],
    partition: str,
    sbatch_arguments: Sequence[str] = (),
) -> dict[str, str]:
    """Hand what is not done to SLURM: a job a run, each after the jobs of the runs it needs.

    A job is this suite's own command with ``--only RUN``, so its outcome is noted as it is on one
    machine; within it the run is started by ``srun``. What a failed run is needed for is cancelled
    by SLURM (``--kill-on-invalid-dep``). A run whose job is still queued or running is not
    submitted again.

    Args:
        plan (Sequence[Run]): The runs, each after those it needs.
        folder (Folder): The suite's.
        suite_command (Sequence[str]): Of ``tools/run_suite.py``, with what makes the same plan.
        partition (str): Of the cluster.
        sbatch_arguments (Sequence[str]): Further ones, such as '--time=24:00:00'.

    Returns:
        dict: The job's number for each submitted run.

    Raises:
        SuiteError: sbatch is missing or refused a job; says which were submitted before.
    """
    jobs: dict[str, str] = {}
    for run in plan:
        if folder.is_done(run):
            continue
        folder[run].mkdir(parents=True, exist_ok=True)
        note = folder[run] / 'slurm_job'
        if note.exists() and _is_queued(number := note.read_text().strip()):
            jobs[run.name] = number
            continue
        on_a_node = min(run.gpus, int(os.environ.get('GPUS_PER_NODE', 8)))
        command = [
            'sbatch',
            '--parsable',
            f'--partition={partition}',
            f'--job-name={folder.suite.name}/{run.name}',
            f'--ntasks={run.gpus}',
            f'--ntasks-per-node={on_a_node}',
            f'--gres=gpu:{on_a_node}',
            f'--cpus-per-task={os.environ.get("CPUS_PER_TASK", 5)}',
            f'--output={folder[run] / "slurm-%j.log"}',
            *sbatch_arguments,
        ]
        if needed := [jobs[name] for name in run.needs if name in jobs]:
            command += [f'--dependency=afterok:{":".join(needed)}', '--kill-on-invalid-dep=yes']
        command.append(f'--wrap={shlex.join([*suite_command, "--only", run.name])}')
        try:
            found = subprocess.run(command, capture_output=True, text=True, check=True)
        except FileNotFoundError:
            raise SuiteError(
                'There is no sbatch on this machine: submit from a login node of the cluster, or '
                'leave out --slurm to run here.'
            ) from None
        except subprocess.CalledProcessError as error:
            sent = ', '.join(f'{name} ({job})' for name, job in jobs.items()) or 'none'
            raise SuiteError(
                f'sbatch refused {run.name}: {error.stderr.strip()}\nSubmitted before it: {sent}.'
            ) from None
        jobs[run.name] = found.stdout.strip().split(';')[0]
        note.write_text(jobs[run.name])
    return jobs


def _is_queued(job: str) -> bool:
    found = subprocess.run(
        ['squeue', '--noheader', f'--jobs={job}'], capture_output=True, text=True
    )
    return found.returncode == 0 and bool(found.stdout.strip())
