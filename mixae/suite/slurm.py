"""Runs as jobs of SLURM, each after those that it needs."""

import getpass
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from typing import BinaryIO

from mixae.errors import SuiteError
from mixae.files import lock_folder
from mixae.suite.plan import Run
from mixae.suite.processes import gpus_of_a_node
from mixae.suite.state import Folder


def submit(
    plan: Sequence[Run],
    folder: Folder,
    suite_command: Sequence[str],
    partition: str,
    sbatch_arguments: Sequence[str] = (),
) -> dict[str, str]:
    """Hand what is not done to SLURM: one job per run, each after the jobs of the runs it needs.

    A job is this suite's own command with ``--only RUN``, so its outcome is noted as it is on one
    machine; within it the run is started by ``srun``. What a failed run is needed for is cancelled
    by SLURM (``--kill-on-invalid-dep``). A run whose job is still queued or running is not
    submitted again: SLURM is asked for the job's name, which no other run has.

    Args:
        plan, folder: See :func:`mixae.suite.run.open_suite`.
        suite_command (Sequence[str]): Of ``tools/run_suite.py``, with what makes the same plan.
        partition (str): Of the cluster.
        sbatch_arguments (Sequence[str]): Further ones, such as '--time=24:00:00'.

    Returns:
        dict: The job's number of each run that is not done.

    Raises:
        SuiteError: There is no SLURM, or it refused a job; says which were submitted before.
    """
    need_slurm('sbatch', 'squeue')
    jobs: dict[str, str] = {}
    # sbatch inherits the lock: killed while sbatch is at work, a second call waits for that job.
    with lock_folder(folder.path, patience=60.0) as lock:
        listed = _ask(
            'squeue', ['--noheader', f'--user={getpass.getuser()}', '--format=%i %j'], lock
        )
        queued = {name: job for job, _, name in (x.partition(' ') for x in listed.splitlines())}
        for run in plan:
            if folder.is_done(run):
                continue
            name = job_name(folder, run)
            if name not in queued:
                arguments = _sbatch_arguments(folder, run, partition, jobs)
                arguments += [f'--job-name={name}', *sbatch_arguments]
                arguments += [f'--wrap={shlex.join([*suite_command, "--only", run.name])}']
                try:
                    queued[name] = _ask('sbatch', arguments, lock).strip().partition(';')[0]
                except SuiteError as error:
                    sent = ', '.join(f'{name} ({job})' for name, job in jobs.items()) or 'none'
                    raise SuiteError(f'{run.name}: {error} Submitted before: {sent}.') from error
            jobs[run.name] = queued[name]
    return jobs


def need_slurm(*tools: str) -> None:
    """Make sure that this machine has tools of SLURM.

    Raises:
        SuiteError: One is not there.
    """
    for tool in tools:
        if not shutil.which(tool):
            raise SuiteError(
                f'There is no {tool} on this machine: use a node of the cluster, or leave out '
                '--slurm or --launcher slurm to run here.'
            )


def job_name(folder: Folder, run: Run) -> str:
    """The same for a run in a work directory on every call, and for no other."""
    where = hashlib.sha256(str(folder.path.resolve()).encode()).hexdigest()[:10]
    return f'{folder.suite.name}/{run.name}@{where}'


def _sbatch_arguments(folder: Folder, run: Run, partition: str, jobs: dict[str, str]) -> list[str]:
    folder[run].mkdir(parents=True, exist_ok=True)  # for the log
    gpus, cpus = gpus_of_a_node(run), os.environ.get('CPUS_PER_TASK', 5)
    words = ['--parsable', f'--partition={partition}', f'--ntasks={run.gpus}']
    words += [f'--ntasks-per-node={gpus}', f'--gres=gpu:{gpus}', f'--cpus-per-task={cpus}']
    words += [f'--output={folder[run] / "slurm-%j.log"}']
    if needed := [jobs[name] for name in run.needs if name in jobs]:
        words += [f'--dependency=afterok:{":".join(needed)}', '--kill-on-invalid-dep=yes']
    return words


def _ask(tool: str, arguments: Sequence[str], lock: BinaryIO) -> str:
    """What a tool of SLURM answers."""
    done = subprocess.run([tool, *arguments], stdin=lock, capture_output=True, text=True)
    if done.returncode:
        raise SuiteError(f'{tool} refused: {" ".join(done.stderr.split())}.')
    return done.stdout
