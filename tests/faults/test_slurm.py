"""tools/slurm_train.sh: what is requeued, and how it goes on. srun and scontrol are stand-ins."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'tools/slurm_train.sh'


@pytest.fixture
def slurm(tmp_path):
    """Runs the script with a status that srun ends with; what was called, with its arguments."""
    tools = tmp_path / 'bin'
    tools.mkdir()
    for name, status in (('srun', '$SRUN_STATUS'), ('scontrol', '0')):
        script = tools / name
        script.write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\nexit {status}\n')
        script.chmod(0o755)

    def run(status: int, *arguments: str, **environ: str) -> tuple[int, list[str]]:
        (tmp_path / 'calls').unlink(missing_ok=True)
        done = subprocess.run(
            ['bash', SCRIPT, 'gpu', 'job', 'config.py', str(tmp_path / 'run'), *arguments],
            env=os.environ
            | dict(PATH=f'{tools}:{os.environ["PATH"]}', SRUN_STATUS=str(status))
            | environ,
        )
        return done.returncode, (tmp_path / 'calls').read_text().splitlines()

    return run


@pytest.mark.parametrize(
    'status, environ, requeued',
    [
        (75, dict(SLURM_JOB_ID='12'), True),
        (75, {}, False),  # srun's own allocation ends with it
        (1, dict(SLURM_JOB_ID='12'), False),
        (0, dict(SLURM_JOB_ID='12'), False),
    ],
)
def test_a_run_that_was_told_to_end_is_requeued(slurm, monkeypatch, status, environ, requeued):
    monkeypatch.delenv('SLURM_JOB_ID', raising=False)
    ended, calls = slurm(status, **environ)
    assert ended == status
    assert calls[0].startswith('srun -p gpu --job-name=job ')
    assert calls[1:] == (['scontrol requeue 12'] if requeued else [])


def test_a_restarted_job_resumes_what_there_is(slurm, tmp_path):
    (tmp_path / 'run').mkdir()
    options = ('--cfg-options', 'a=1')
    for restarts, checkpoint, resumes in (
        ('0', None, False),
        ('1', None, False),  # preempted before it had saved anything
        ('1', 'preempted.pth', True),
        ('0', 'epoch_1.pth', False),  # another run's: the tool says what to do
    ):
        if checkpoint:
            (tmp_path / 'run' / checkpoint).write_bytes(b'')
        _, (call,) = slurm(0, *options, SLURM_RESTART_COUNT=restarts)
        command = call.split('train.py ')[1]
        middle = '--resume ' if resumes else ''
        assert command == (
            f'config.py --work-dir={tmp_path}/run --launcher=slurm {middle}--cfg-options a=1'
        )
