"""Jobs of SLURM: one for each run, each once."""

import multiprocessing
import os

import pytest

from mixae.errors import SuiteError
from mixae.suite.slurm import submit
from mixae.suite.state import Folder
from tests.suite.stand_ins import ALL, small_suite

# A job is queued a second after sbatch was called; killed meanwhile is who called it for $KILL.
SBATCH = """#!/bin/sh
for word in "$@"; do case "$word" in --job-name=*) name=${{word#--job-name=}};; esac; done
case "$name" in *{refuse}*) echo 'sbatch: error: no such partition' >&2; exit 1;; esac
case "$name" in *"$KILL"@*) kill -9 $PPID; sleep 1;; esac
echo "$@" >> {folder}/sent
number=$(wc -l < {folder}/sent | tr -d ' ')
echo "$number $name" >> {folder}/queue
echo "$number;cluster"
"""
SQUEUE = """#!/bin/sh
[ -e {folder}/broken ] && echo 'slurm_load_jobs error: Unable to contact' >&2 && exit 1
echo '4711 somebody else, with blanks'
[ -e {folder}/queue ] && cat {folder}/queue
exit 0
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Stands in for SLURM; returns its folder: what was ``sent``, and its ``queue``."""

    def slurm(refuse='nothing'):
        folder = tmp_path / 'slurm'
        folder.mkdir()
        for name, text in (('sbatch', SBATCH), ('squeue', SQUEUE)):
            (folder / name).write_text(text.format(folder=folder, refuse=refuse))
            (folder / name).chmod(0o755)
        monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
        monkeypatch.setenv('KILL', 'nobody')
        return folder

    return slurm


def test_every_run_is_a_job_after_those_it_needs(tmp_path, slurm):
    queue = slurm()
    suite = small_suite()
    folder = Folder(tmp_path / 'w', suite)
    jobs = submit(suite.plan, folder, ['run_suite.py', 's.py'], 'gpu', ['--time=9:00'])
    assert list(jobs) == ALL and list(jobs.values()) == [str(i + 1) for i in range(len(ALL))]
    lines = dict(zip(ALL, (queue / 'sent').read_text().splitlines(), strict=True))
    assert '--partition=gpu' in lines['a'] and '--time=9:00' in lines['a']
    assert '--dependency' not in lines['a']
    assert f'--dependency=afterok:{jobs["a"]}' in lines['c']
    assert '--wrap=run_suite.py s.py --only probe_b' in lines['probe_b']


def test_what_is_queued_is_not_sent_again_but_what_has_left_the_queue_is(tmp_path, slurm):
    queue = slurm()
    suite = small_suite()
    folder = Folder(tmp_path / 'w', suite)
    jobs = submit(suite.plan, folder, ['x'], 'gpu')
    assert submit(suite.plan, folder, ['x'], 'gpu') == jobs
    # The same runs in another work directory are others.
    elsewhere = submit(suite.plan, Folder(tmp_path / 'v', suite), ['x'], 'gpu')
    assert not set(elsewhere.values()) & set(jobs.values())
    left = [line for line in (queue / 'queue').read_text().splitlines() if '/probe_a@' not in line]
    (queue / 'queue').write_text('\n'.join(left) + '\n')
    again = submit(suite.plan, folder, ['x'], 'gpu')
    assert {name for name in ALL if again[name] != jobs[name]} == {'probe_a'}


@pytest.mark.parametrize('name', ['a', 'tune_a', 'table_4'])
def test_killed_while_a_job_is_sent_it_is_not_sent_twice(tmp_path, slurm, monkeypatch, name):
    queue = slurm()
    suite = small_suite()
    monkeypatch.setenv('KILL', name)
    first = multiprocessing.get_context('fork').Process(
        target=submit, args=(suite.plan, Folder(tmp_path / 'w', suite), ['x'], 'gpu')
    )
    first.start()
    first.join(60)
    assert first.exitcode == -9
    monkeypatch.setenv('KILL', 'nobody')
    jobs = submit(suite.plan, Folder(tmp_path / 'w', suite), ['x'], 'gpu')
    names = [line.split(' ', 1)[1] for line in (queue / 'queue').read_text().splitlines()]
    assert [name.partition('@')[0] for name in names] == [f'small/{name}' for name in ALL]
    assert list(jobs.values()) == [str(i + 1) for i in range(len(ALL))]


def test_slurm_gets_only_what_is_not_done(call, slurm):
    call(small_suite(), failing='probe_a')
    queue = slurm()
    assert list(submit(small_suite().plan, call.folder, ['x'], 'gpu')) == ['probe_a']
    assert '--dependency' not in (queue / 'sent').read_text()


def test_without_slurm_or_when_it_refuses_that_is_said(tmp_path, slurm, monkeypatch):
    suite = small_suite()
    folder = Folder(tmp_path / 'w', suite)
    with monkeypatch.context() as patch, pytest.raises(SuiteError, match='no sbatch on this mach'):
        patch.setenv('PATH', str(tmp_path))
        submit(suite.plan, folder, ['x'], 'gpu')
    queue = slurm(refuse='/c@')
    said = r'^c: sbatch refused: .*no such partition.* Submitted before: a \(1\), b \(2\)\.$'
    with pytest.raises(SuiteError, match=said):
        submit(suite.plan, folder, ['x'], 'gpu')
    # Whether jobs are queued is not known: none is sent.
    sent = (queue / 'sent').read_text()
    (queue / 'broken').touch()
    with pytest.raises(SuiteError, match='squeue refused: slurm_load_jobs error'):
        submit(suite.plan, folder, ['x'], 'gpu')
    assert (queue / 'sent').read_text() == sent
