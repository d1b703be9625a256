"""Suites: planned, run, skipped, resumed, started over, reported; and, slowly, the demo."""

import fcntl
import io
import json
import os
import re
import subprocess
import sys
import time

import pytest
from mmengine.config import Config
from rich.console import Console

from mixae.datasets.digit_scenes.build import DEFAULTS
from mixae.derive import derive
from mixae.errors import MixaeError, SuiteError
from mixae.results.record import metric, new_record, read_record, write_record
from mixae.suite import execute
from mixae.suite.checks import CHECKS, pretraining_pays, topk_isolates
from mixae.suite.execute import Machine, Process, headline, run_plan, submit, this_machine
from mixae.suite.folder import LOCK, Folder
from mixae.suite.main import check_changes, dry_run, run_suite, summarise
from mixae.suite.plan import ROOT, Run, Suite, load_suite
from mixae.suite.progress import Display, duration, estimate, fraction_done

MAE_CONFIG = 'configs/mae/vitmini_digits_12e.py'
LINEAR_CONFIG = 'configs/transfer/digit_scenes/vitmini_linear.py'
TUNE_CONFIG = 'configs/transfer/digit_scenes/vitmini_finetune.py'
TABLE_4 = (MAE_CONFIG, '{pretrain}', '--other', '{c}', '--records', '{records}')
SUITES = sorted(p for p in (ROOT / 'configs' / 'suites').rglob('*.py') if p.parent.name != '_base_')


def small_suite(seed=0, **changed):
    """Two pre-trainings and what follows; ``changed`` are overrides of pre-training b."""
    options = {'randomness.seed': seed}
    plan = (
        Run('a', 'A', 'train', MAE_CONFIG, options=options),
        Run('b', 'B', 'train', MAE_CONFIG, options={'train_cfg.max_epochs': 3, **changed}),
        Run('c', 'C', 'train', MAE_CONFIG, teacher='a', options=options),
        Run('tune_a', 'TA', 'train', TUNE_CONFIG, 'a', options=options),
        Run('probe_a', 'PA', 'test', LINEAR_CONFIG, 'a', options=options),
        Run('probe_b', 'PB', 'test', LINEAR_CONFIG, 'b'),
        Run('probe_random', 'PR', 'test', LINEAR_CONFIG, 'scratch', options=options),
        Run('p/icture', 'P', 'picture', 'tools/x.py', 'b', arguments=('{pretrain}', '{out}')),
        Run('table_4', 'T4', 'analysis', 'tools/y.py', 'a', uses=('c',), arguments=TABLE_4),
    )
    return Suite('small', 'Small', plan, columns=('linear', 'finetune'))


class Ended:
    """A process that has ended."""

    pid = 2**30  # no process has it

    def __init__(self, code):
        self.code = code

    def poll(self):
        return self.code


class FakeRuns:
    """Leaves what runs leave, without running them; keeps the commands they would have run.

    ``killed`` is the run at which the suite is interrupted, after that run's first checkpoint.
    """

    def __init__(self, killed=None, failing=None, seconds=0.0):
        self.commands, self.killed, self.failing = {}, killed, failing
        self.seconds = seconds

    def __call__(self, folder, run, machine, slot, launcher):
        self.commands[run.name], before = folder.begin(run, launcher)
        log = folder.log(run)
        log.write_text('starting\n')
        started = time.monotonic() - self.seconds
        code = int(run.name == self.failing)
        process = Process(run, Ended(code), log, before, None, started, slot)
        if run.name == self.killed:
            (folder[run] / 'epoch_1.pth').write_text('half')
            raise KeyboardInterrupt
        if run.name == self.failing:
            log.write_text('starting\nTraceback (most recent call last):\nValueError: broken\n')
            return process
        if run.is_pretraining:
            for old in folder[run].glob('epoch_*.pth'):
                old.unlink()
            (folder[run] / 'epoch_8.pth').write_bytes(os.urandom(8))
        elif run.tool == 'picture':
            (folder.path / f'{run.name}.png').write_text('picture')
        elif run.tool == 'analysis':
            for row in ('one', 'two'):
                write_record(a_record('separability', row), folder[run] / 'records')
        else:
            task = 'finetune' if run.tool == 'train' else 'linear'
            write_record(a_record(task, run.name), folder[run] / 'records')
        return process


def a_record(task, dataset):
    return new_record(
        task=task,
        protocol=dict(name='x', version='1'),
        method='mae',
        backbone=dict(arch='x', patch_size=8, img_size=64),
        dataset=dict(name=dataset, description=None, split='test', n_train=1, n_test=1),
        metrics={
            'accuracy/top1': metric(50.0),
            'fore/nrmse': metric(0.5, '', higher_is_better=False),
        },
        config=dict(path='c.py', sha256='0' * 64),
        versions={'python': '3'},
        device=dict(name='x', count=1, cpu_threads=1),
        commit=dict(hash=None, dirty=None),
        seed=0,
    )


@pytest.fixture
def call(tmp_path):
    """Runs a suite with fake runs and returns the commands that were needed."""

    def call(suite, **fake):
        runs = FakeRuns(**fake)
        folder = Folder(tmp_path, suite)
        done = {run.name for run in suite.plan if folder.is_done(run)}
        with Display(suite.plan, done, Console(file=io.StringIO())) as display:
            try:
                call.failed = run_plan(
                    suite.plan, folder, Machine(2, 1), display, start=runs, pause=0
                )
            except KeyboardInterrupt:
                pass
        call.folder = folder
        return runs.commands

    call.path = tmp_path
    return call


ALL = [run.name for run in small_suite().plan]


def test_all_runs_once_and_then_none(call):
    assert sorted(call(small_suite())) == sorted(ALL)
    assert call(small_suite()) == {}


def test_runs_start_from_what_they_need(call):
    commands = call(small_suite())
    names = list(commands)
    for run in small_suite().plan:
        for needed in run.needs:
            assert names.index(needed) < names.index(run.name)
    a, b = (str(call.path / name / 'epoch_8.pth') for name in 'ab')
    assert commands['tune_a'][commands['tune_a'].index('--pretrained') + 1] == a
    assert commands['probe_a'][3] == a and commands['probe_random'][3] == 'scratch'
    assert f'model.teacher.checkpoint={a}' in commands['c']
    assert commands['p/icture'][2:] == [b, str(call.path / 'p/icture.png')]
    c, records = call.path / 'c' / 'epoch_8.pth', call.path / 'table_4' / 'records'
    given = [str(ROOT / MAE_CONFIG), a, '--other', str(c), '--records', str(records)]
    assert commands['table_4'][2:] == given
    assert not {'--resume', '--overwrite'} & {word for c in commands.values() for word in c}


def test_an_interrupted_call_goes_on_where_it_was(call):
    first = call(small_suite(), killed='c')
    second = call(small_suite())
    assert 'c' in first and set(first) | set(second) == set(ALL)
    assert set(first) & set(second) <= {'c', list(first)[-1], *list(first)[-2:]}
    assert 'a' not in second
    assert second['c'][-1] == '--resume'


def test_a_finetuning_killed_after_its_last_checkpoint_starts_over(call):
    call(small_suite(), killed='tune_a')
    last = f'epoch_{Config.fromfile(ROOT / TUNE_CONFIG).train_cfg.max_epochs}.pth'
    (call.path / 'tune_a' / 'epoch_1.pth').rename(call.path / 'tune_a' / last)
    assert '--resume' not in call(small_suite())['tune_a']
    assert [p.name for p in (call.path / 'tune_a').glob('replaced_*/*')] == [last]


def test_a_changed_config_is_run_again_and_nothing_else(call):
    call(small_suite())
    commands = call(small_suite(**{'train_cfg.max_epochs': 4}))
    assert sorted(commands) == ['b', 'p/icture', 'probe_b']
    assert '--resume' not in commands['b']
    assert [p.name for p in (call.path / 'b').glob('replaced_*/*')] == ['epoch_8.pth']
    assert {'a', 'c', 'tune_a', 'probe_a', 'probe_random'} <= set(call(small_suite(seed=1)))


def test_a_kill_at_the_start_does_not_make_an_earlier_result_this_runs(call, monkeypatch):
    call(small_suite())
    changed = small_suite(**{'train_cfg.max_epochs': 4})
    folder = Folder(call.path, changed)
    folder.begin(changed['b'])  # and the power goes, before anything is trained
    assert not folder.is_done(changed['b'])
    assert '--resume' not in folder.command(changed['b'])
    assert '--resume' not in call(changed)['b']


def test_a_record_that_a_killed_suite_did_not_note_is_put_aside(call):
    call(small_suite())
    path = call.path / 'probe_a' / 'run.json'
    state = json.loads(path.read_text())
    del state['outputs']
    path.write_text(json.dumps(state))  # killed between the record and its note
    assert list(call(small_suite())) == ['probe_a']
    folder = call.path / 'probe_a' / 'records'
    assert len(list(folder.glob('*.record.json'))) == 1
    assert len(list(folder.glob('*.record.json.replaced'))) == 1


def test_what_cannot_be_started_does_not_end_the_others(call, monkeypatch):
    held = []

    class Contested(FakeRuns):
        def __call__(self, folder, run, *args):
            if run.name == 'b':
                held.append(folder.lock(run))
                folder.lock(run, patience=0.2)  # another suite has it
            if run.name == 'tune_a':
                raise FileNotFoundError('the disk is gone')
            return super().__call__(folder, run, *args)

    monkeypatch.setattr(f'{__name__}.FakeRuns', Contested)
    commands = call(small_suite())
    assert set(commands) == set(ALL) - {'b', 'probe_b', 'p/icture', 'tune_a'}
    assert set(call.failed) == {'b', 'probe_b', 'p/icture', 'tune_a'}
    assert 'at work on' in call.failed['b'] and 'the disk is gone' in call.failed['tune_a']
    os.close(held[0])


def test_a_changed_config_is_noticed_and_named_before_anything_runs(call):
    call(small_suite())
    suite = small_suite(**{'train_cfg.max_epochs': 4})
    folder = Folder(call.path, suite)
    assert folder.status(suite['b']) == 'changed'
    assert folder.changes(suite['b']) == ['train_cfg.max_epochs: 3 -> 4']
    assert folder.changes(suite['a']) == []
    out = io.StringIO()
    with pytest.raises(SuiteError, match=r'b: train_cfg.max_epochs: 3 -> 4'):
        check_changes(folder, suite.plan, 'stop', Console(file=out))
    check_changes(folder, suite.plan, 'redo', Console(file=out))
    assert 'train_cfg.max_epochs: 3 -> 4' in out.getvalue()


def test_where_and_on_what_a_run_stands_does_not_change_it(call):
    """The suite's own bookkeeping is no setting: other seeds, titles and budgets share results."""
    call(small_suite())
    plan = [Run(**{**vars(run), 'title': 'T', 'seconds': 1.0}) for run in small_suite().plan]
    assert call(Suite('other', 'Other', tuple(plan), columns=('knn',))) == {}


def test_what_came_from_a_lost_or_damaged_checkpoint_is_run_again(call):
    call(small_suite())
    (call.path / 'a' / 'epoch_8.pth').unlink()
    assert sorted(call(small_suite())) == ['a', 'c', 'probe_a', 'table_4', 'tune_a']
    (call.path / 'b' / 'epoch_8.pth').write_text('damaged')
    assert sorted(call(small_suite())) == ['b', 'p/icture', 'probe_b']


def test_a_damaged_record_or_picture_is_made_again(call):
    call(small_suite())
    next((call.path / 'probe_random' / 'records').iterdir()).write_text('{}')
    (call.path / 'p/icture.png').unlink()
    assert sorted(call(small_suite())) == ['p/icture', 'probe_random']
    assert call(small_suite()) == {}


def test_all_records_of_an_analysis_are_its_result(call, monkeypatch):
    call(small_suite())
    folder, run = call.folder, small_suite()['table_4']
    assert {r['dataset']['name'] for r in map(read_record, folder.results(run))} == {'one', 'two'}
    assert headline(folder, run) == '2 records' and folder.settings(run)['tool'] == 'tools/y.py'
    # One is lost: both are made anew, and what is left of the first call does not count.
    left, lost = folder.results(run)
    lost.unlink()
    assert list(call(small_suite())) == ['table_4']
    assert len(folder.results(run)) == 2 and left not in folder.results(run)
    summarise(folder, Console(file=io.StringIO(), width=200))
    # A config that it names is one of its settings.
    changed = Folder(call.path, small_suite())
    changed.named_configs(run)[MAE_CONFIG].train_cfg.max_epochs = 5
    assert changed.changes(run) == [f'{MAE_CONFIG}.train_cfg.max_epochs: 12 -> 5']
    assert not changed.is_done(run)


def test_a_run_that_fails_is_reported_and_only_what_needs_it_left_out(call):
    commands = call(small_suite(), failing='b')
    assert set(commands) == set(ALL) - {'probe_b', 'p/icture'}
    assert set(call.failed) == {'b', 'probe_b', 'p/icture'}
    assert re.search(r'B failed .*ValueError: broken\n.*b/output\.log', call.failed['b'])
    assert 'it needs b' in call.failed['probe_b']
    assert call.folder.status(call.folder.suite['b']) == 'failed'
    assert sorted(call(small_suite())) == ['b', 'p/icture', 'probe_b']
    assert call.failed == {}


def test_a_run_that_leaves_no_result_is_no_success(call, monkeypatch):
    monkeypatch.setattr('mixae.suite.folder.checkpoints', lambda folder: [])
    call(small_suite())
    assert 'A left no result' in call.failed['a']


# ---- plans ------------------------------------------------------------------------------------


@pytest.mark.parametrize('path', SUITES, ids=lambda path: path.stem)
def test_the_suites_that_ship_are_sound(path):
    suite = load_suite(path)
    names = [run.name for run in suite.plan]
    assert len(set(names)) == len(names)
    for i, run in enumerate(suite.plan):
        assert set(run.needs) <= set(names[:i])
    assert set(suite.checks) <= set(CHECKS)
    assert set(suite.prepare) <= set(DEFAULTS)
    assert suite.evaluations


@pytest.mark.parametrize('path', SUITES, ids=lambda path: path.stem)
def test_the_suites_that_ship_can_be_printed_before_anything_runs(path, tmp_path):
    suite = load_suite(path, seeds=[3])
    out = io.StringIO()
    dry_run(Folder(tmp_path / 'w', suite), suite.plan, 2, Console(file=out, width=200))
    text = out.getvalue()
    for run in suite.plan:
        assert re.search(rf'^{re.escape(run.name)}: new;', text, re.MULTILINE)
    assert f'\n{len(suite.plan)} runs; ' in text
    assert ('of unknown length' in text) or ('what is left takes about' in text)
    assert 'about 0 s' not in text
    assert not (tmp_path / 'w').exists()


def test_every_override_of_a_suite_names_a_setting_that_is_there():
    """A misspelt override would silently run something else."""
    # What every data set and sampler takes; what a constant share of i-MAE is given by.
    elsewhere = ('subset', 'seed', 'num_workers', 'indices', 'subordinate')
    for path in SUITES:
        for run in load_suite(path, seeds=[0]).plan:
            if run.is_analysis:
                continue
            cfg = Config.fromfile(ROOT / run.target)
            for name in run.options:
                node = cfg
                for part in name.split('.'):
                    assert part in node or part in elsewhere, (path, name)
                    node = node.get(part, {})


def test_pretraining_is_shared_and_seeds_are_repeats():
    suite = load_suite(ROOT / 'configs/suites/demo.py', seeds=[0, 1])
    for seed in (0, 1):
        for row in ('mae', 'mixedae', 'imae', 'scratch'):
            for kind in ('finetune', 'linear', 'knn', 'detection', 'segmentation'):
                run = suite[f'{row}_seed{seed}/{kind}']
                assert run.options['randomness.seed'] == seed
                assert run.start == (
                    'scratch' if row == 'scratch' else f'{row}_seed{seed}/pretrain'
                )
        assert suite[f'imae_seed{seed}/pretrain'].teacher == f'mae_seed{seed}/pretrain'
    assert len([run for run in suite.plan if run.is_pretraining]) == 6
    selected = suite.select(['imae_seed1/knn'])
    assert [run.name for run in selected] == [
        'mae_seed1/pretrain',
        'imae_seed1/pretrain',
        'imae_seed1/knn',
    ]
    with pytest.raises(SuiteError, match="no run 'imae/knn'"):
        suite.select(['imae/knn'])


def test_mae_mixedae_and_imae_of_the_demo_see_as_many_images():
    cfgs = {
        run.name.split('_')[0]: run.config()
        for run in load_suite(ROOT / 'configs/suites/demo.py').plan
        if run.is_pretraining
    }
    epochs = {name: cfg.train_cfg.max_epochs for name, cfg in cfgs.items()}
    assert epochs['mae'] == epochs['mixedae'] == 2 * epochs['imae']
    cfgs.pop('imae')  # cannot be resolved without its teacher
    batches = {derive(cfg, cuda=False)[0].train_dataloader.batch_size for cfg in cfgs.values()}
    assert len(batches) == 1


def test_an_analysis_names_the_checkpoints_of_its_seed(tmp_path):
    (tmp_path / 'suite.py').write_text(
        SUITE
        + "budget, seeds = 'an hour', [0, 7]\npretrain['n'] = pretrain['m']\n"
        + "_all = dict(tool='tools/analysis/separability.py', of='m')\n"
        + "_all['arguments'] = ['{pretrain}', '{n}', '{seed}', '{budget}', '{records}']\n"
        + 'analyses, pictures = dict(t=_all), dict(p=_all)\n'
    )
    suite = load_suite(tmp_path / 'suite.py')
    for seed in (0, 7):
        run = suite[f'm_seed{seed}/t']
        assert run.needs == (f'm_seed{seed}/pretrain', f'n_seed{seed}/pretrain')
        other = f'{{n_seed{seed}/pretrain}}'
        assert run.arguments == ('{pretrain}', other, str(seed), 'an hour', '{records}')
    assert suite['pictures/p'].tool == 'picture' and len(suite['pictures/p'].needs) == 2
    assert suite['m_seed7/t'].tool == 'analysis' and suite['m_seed7/t'] in suite.evaluations


SUITE = """
pretrain = dict(m=dict(config='configs/mae/vitmini_digits_12e.py'))
evaluate = dict(l=dict(tool='test', config='configs/transfer/digit_scenes/vitmini_linear.py'))
columns = ['linear']
"""


@pytest.mark.parametrize(
    'more, message',
    [
        ('metods = 1', r"unknown \['metods'\]; known are"),
        ('del columns', r"\['columns'\] must be given"),
        ('evaluate = {}', 'nothing in `evaluate`'),
        ('seeds = [1, 1]', 'must be different numbers'),
        ('seeds = []', 'at least 1'),
        ("on_change = 'ask'", "neither 'stop' nor 'redo'"),
        ("pretrain['m']['config'] = 'configs/x.py'", 'there is no configs/x.py'),
        ("pretrain['m']['teacher'] = 'z'", "its teacher 'z' must be a row before it"),
        ("pretrain['m']['epochs'] = 3", r"pretrain.m: unknown \['epochs'\]"),
        ("evaluate['l']['tool'] = 'probe'", "'train' or 'test'"),
        ("pictures = dict(p=dict(tool='t', of='z', arguments=[]))", "of='z' is no row"),
        ("analyses = dict(p=dict(tool='t', of='m', args=[]))", r"analyses.p: unknown \['args'\]"),
        ("analyses = dict(p=dict(tool='t', of='m', arguments=[]))", 'there is no t'),
    ],
)
def test_what_is_wrong_with_a_suite_is_said_before_it_runs(tmp_path, more, message):
    (tmp_path / 'suite.py').write_text(SUITE)
    load_suite(tmp_path / 'suite.py')
    (tmp_path / 'wrong.py').write_text(SUITE + more)
    with pytest.raises(SuiteError, match=message):
        load_suite(tmp_path / 'wrong.py')


def test_a_suite_that_is_not_there_is_named():
    with pytest.raises(MixaeError, match='no suite nothing.py'):
        load_suite('nothing.py')


# ---- commands ---------------------------------------------------------------------------------


def test_several_processes_go_through_torchrun_and_slurm(tmp_path):
    run = Run('a', 'A', 'train', MAE_CONFIG, gpus=8, options={'randomness.seed': 1})
    probe = Run('b', 'B', 'test', LINEAR_CONFIG, 'scratch', gpus=2, budget='two words')
    folder = Folder(tmp_path, Suite('s', 'S', (run, probe), ('linear',)))
    command = folder.command(run)
    assert command[:4] == [
        'bash',
        str(ROOT / 'tools/dist_train.sh'),
        str(ROOT / MAE_CONFIG),
        '8',
    ]
    command = folder.command(probe)
    assert command[1:5] == [
        str(ROOT / 'tools/dist_test.sh'),
        str(ROOT / LINEAR_CONFIG),
        'scratch',
        '2',
    ]
    assert command[command.index('--budget') + 1] == 'two words'
    command = folder.command(run, 'slurm')
    assert command[:3] == ['srun', '--ntasks=8', '--ntasks-per-node=8']
    assert '--launcher=slurm' in command and str(ROOT / 'tools/train.py') in command


SBATCH = """#!/bin/sh
echo "$@" >> {log}
case "$*" in *{refuse}*) echo 'sbatch: error: no such partition' >&2; exit 1;; esac
wc -l < {log} | tr -d ' '
"""


def fake_slurm(tmp_path, monkeypatch, refuse='nothing'):
    folder = tmp_path / 'bin'
    folder.mkdir(exist_ok=True)
    log = tmp_path / 'sbatch.log'
    log.unlink(missing_ok=True)
    for name, text in (
        ('sbatch', SBATCH.format(log=log, refuse=refuse)),
        ('squeue', f'#!/bin/sh\n[ -e {tmp_path}/queued ] && echo job\nexit 0\n'),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
    return log


def test_slurm_gets_a_job_a_run_after_those_it_needs(tmp_path, monkeypatch):
    log = fake_slurm(tmp_path, monkeypatch)
    suite = small_suite()
    folder = Folder(tmp_path / 'w', suite)
    jobs = submit(suite.plan, folder, ['run_suite.py', 's.py'], 'gpu', ['--time=9:00'])
    assert list(jobs) == ALL and list(jobs.values()) == [str(i + 1) for i in range(len(ALL))]
    lines = dict(zip(ALL, log.read_text().splitlines(), strict=True))
    assert '--partition=gpu' in lines['a'] and '--time=9:00' in lines['a']
    assert '--dependency' not in lines['a']
    assert f'--dependency=afterok:{jobs["a"]}' in lines['c']
    assert '--wrap=run_suite.py s.py --only probe_b' in lines['probe_b']
    (tmp_path / 'queued').touch()
    assert submit(suite.plan, folder, ['x'], 'gpu') == jobs
    assert len(log.read_text().splitlines()) == len(ALL)


def test_slurm_gets_only_what_is_not_done(call, monkeypatch):
    call(small_suite(), failing='probe_a')
    log = fake_slurm(call.path, monkeypatch)
    assert list(submit(small_suite().plan, call.folder, ['x'], 'gpu')) == ['probe_a']
    assert '--dependency' not in log.read_text()


def test_without_slurm_or_when_it_refuses_a_job_that_is_said(tmp_path, monkeypatch):
    suite = small_suite()
    folder = Folder(tmp_path / 'w', suite)
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(SuiteError, match='no sbatch on this machine'):
        submit(suite.plan, folder, ['x'], 'gpu')
    monkeypatch.undo()
    fake_slurm(tmp_path, monkeypatch, refuse='/c')
    with pytest.raises(SuiteError, match=r'refused c: .*no such partition\n.*: a \(1\), b \(2\)'):
        submit(suite.plan, folder, ['x'], 'gpu')


def test_a_machine_runs_as_many_at_a_time_as_it_has_cores_for(monkeypatch):
    monkeypatch.setattr(execute.torch.cuda, 'device_count', lambda: 0)
    monkeypatch.setattr(execute.os, 'sched_getaffinity', lambda _: set(range(2)), raising=False)
    assert this_machine() == Machine(2, 1)
    assert this_machine(jobs=1) == Machine(1, 2)
    assert this_machine(gpus_a_run=8) == Machine(1, 1)
    monkeypatch.setattr(execute.torch.cuda, 'device_count', lambda: 8)
    assert this_machine(gpus_a_run=4).jobs == 2


# ---- progress and time ------------------------------------------------------------------------


@pytest.mark.parametrize(
    'log, max_epochs, expected',
    [
        ('', 8, 0.0),
        ('Iter(train) [  50/200]  lr: 1\n', None, 0.25),
        ('Epoch(train)  [1][ 10/100]  lr: 1\n', 8, 0.1 / 8),
        ('Epoch(train) [3][50/100] lr\nSaving\nEpoch(train) [5][100/100]\n', 8, 5 / 8),
    ],
)
def test_progress_is_read_from_the_log(log, max_epochs, expected):
    run = small_suite()['a']
    assert fraction_done(log, run, max_epochs) == pytest.approx(expected)


@pytest.mark.parametrize(
    'log, expected',
    [('x', 0.1), ('training features \n', 0.2), ('training features \ntest features ', 0.8)],
)
def test_progress_of_a_probe_is_read_from_the_log(log, expected):
    assert fraction_done(log, small_suite()['probe_a'], None) == expected


def test_the_time_is_estimated_from_measured_steps(call):
    suite = small_suite()
    a, b, c = (suite[name] for name in 'abc')
    folder = Folder(call.path, suite)
    assert estimate(folder, a).seconds is None
    folder.write_state(b)
    folder.log(b).write_text(
        'Epoch(train) [1][10/100]  eta: 0:00:10  time: 0.2000  data_time: 0.01\n'
        'Epoch(train) [1][20/100]  eta: 0:00:10  time: 0.4000  data_time: 0.01\n'
        'Epoch(train) [1][30/100]  eta: 0:00:10  time: 0.3000  data_time: 0.01\n'
    )
    assert estimate(folder, b).seconds == pytest.approx(0.3 * 100 * 3)
    found = estimate(folder, a)  # the same config, 12 epochs of it
    assert found.seconds == pytest.approx(0.3 * 100 * 12) and 'same config' in found.basis
    folder.write_state(c, outputs=[dict(path='x', sha256='0')], seconds=7.0)
    assert estimate(folder, c).seconds == 7.0
    assert 'other seeds' in estimate(folder, a).basis  # c is a, but for its teacher's
    folder.write_state(c, outputs=[dict(path='x', sha256='0')], seconds=7.0, resumed=True)
    assert 'same config' in estimate(folder, a).basis  # 7 s were a part of c


def test_durations_are_for_people():
    assert [duration(s) for s in (12, 204, 20160, 181440)] == [
        '12 s',
        '3.4 min',
        '5.6 h',
        '2.1 days',
    ]


def test_progress_without_a_terminal_is_short_lines():
    out = io.StringIO()
    plan = small_suite().plan[:2]
    with Display(plan, {'a'}, Console(file=out)) as display:
        display.begin(plan[1], resumed=True)
        display.update(plan[1], 0.5)
        assert display.fractions == {'a': 1.0, 'b': 0.5}
        display.end(plan[1], '50.0 %, 1.0 min')
    assert out.getvalue().splitlines() == ['B: resumed', 'B: 50.0 %, 1.0 min']


def test_the_time_left_follows_the_pace_of_this_call_alone(monkeypatch):
    plan = small_suite().plan[:2]
    clock = iter([0.0, 0.0])
    monkeypatch.setattr('mixae.suite.progress.time.monotonic', lambda: next(clock, 60.0))
    with Display(plan, set(), Console(file=io.StringIO())) as display:
        display.begin(plan[0], resumed=True)
        display.update(plan[0], 0.75)  # what an earlier call has done
        display.begin(plan[1], resumed=False)
        display.update(plan[1], 0.5)
        # A minute for half a run: three quarters of one are left.
        assert display.left() == 'about 2 min left'
        display.update(plan[1], 0.25)
        assert display.fractions['b'] == 0.5
        # The first turns out to take twenty minutes, of which five are left.
        display.weigh({'a': 1200.0, 'b': 120.0})
        display.weigh({'a': None})
        assert display.left() == 'about 6 min left'


def test_progress_on_a_terminal_is_bars():
    out = io.StringIO()
    plan = small_suite().plan[:2]
    console = Console(file=out, force_terminal=True, width=80, _environ={'TERM': 'xterm'})
    with Display(plan, set(), console) as display:
        display.begin(plan[0], resumed=False)
        display.update(plan[0], 0.5)
        display.bars.refresh()
    text = re.sub(r'\x1b\[[0-9;?]*[a-zA-Z]', '', out.getvalue())
    assert re.search(r'A .* 50%', text) and re.search(r'all runs .* 25%', text)


def test_the_verdict_in_words_follows_the_records(call):
    plan = (
        Run('m_seed0/pretrain', 'P', 'train', MAE_CONFIG),
        Run('m_seed0/linear', 'M', 'test', LINEAR_CONFIG, 'm_seed0/pretrain'),
        Run('scratch_seed0/linear', 'R', 'test', LINEAR_CONFIG, 'scratch'),
    )
    call(Suite('s', 'S', plan, ('linear',)))
    (line,) = pretraining_pays(call.folder)
    assert 'does NOT pay' in line and '(+0.0 points' in line
    (line,) = pretraining_pays(call.folder, margin=-1)
    assert 'Pre-training pays' in line


def test_the_verdict_on_homologous_attention_follows_its_curve(call, monkeypatch):
    config = 'configs/mixedae/vitmini_digits_12e.py'
    call(Suite('s', 'S', (Run('m', 'P', 'train', config),), ('linear',)))
    rows = [dict(iter=1, chance=0.25, layers={'1': 0.2, '2': 0.26})]
    monkeypatch.setattr('mixae.suite.checks.curve_rows', lambda folder: rows)
    for accuracy, words in ((0.3, 'does NOT isolate'), (0.7, 'begins to'), (0.96, 'n isolates')):
        rows[0]['layers']['1'] = accuracy
        assert words in topk_isolates(call.folder)[0]


def test_the_table_of_what_is_done_is_shown_while_some_is_missing(call):
    call(small_suite(), failing='probe_a')
    out = io.StringIO()
    (call.path / 'p/icture.png').unlink()  # not a picture
    summarise(call.folder, Console(file=out, width=200))
    assert '1 of 5 evaluations are not done' in out.getvalue()
    assert 'MAE' in (call.path / 'table.txt').read_text()
    assert '<html' in (call.path / 'leaderboard.html').read_text()
    empty = Folder(call.path / 'empty', small_suite())
    summarise(empty, Console(file=out))
    assert 'No evaluation is done yet' in out.getvalue()


def test_two_suites_at_work_on_one_run_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr('mixae.suite.main._prepare', lambda suite: None)
    run = tmp_path / 'mae_seed0' / 'pretrain'
    run.mkdir(parents=True)
    other = os.open(run / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_EX)
    suite = load_suite(ROOT / 'configs/suites/demo.py')
    folder = Folder(tmp_path, suite)
    assert folder.status(suite['mae_seed0/pretrain']) == 'running'
    assert folder.status(suite['mixedae_seed0/pretrain']) == 'new'
    with pytest.raises(SuiteError, match='at work on .*mae_seed0'):
        run_suite(ROOT / 'configs/suites/demo.py', tmp_path)
    os.close(other)


# ---- all of it --------------------------------------------------------------------------------


def run_quick(work_dir, *arguments):
    command = [sys.executable, str(ROOT / 'tools/run_suite.py')]
    command += [str(ROOT / 'configs/suites/demo_quick.py'), '--work-dir', str(work_dir)]
    return subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_the_quick_demo_end_to_end(tmp_path):
    """Killed (-9) in the middle of its runs, repeated, repeated again."""
    first = run_quick(tmp_path)
    for line in first.stdout:
        if re.search(r'pre-training MixedAE, seed 0: \d', line):
            break
    time.sleep(1)
    first.kill()
    first.wait(60)
    path = tmp_path / 'mixedae_seed0' / 'pretrain' / 'run.json'
    state = json.loads(path.read_text())
    assert state['outputs']

    for _ in range(30):  # until the killed suite's runs have ended too
        second = run_quick(tmp_path)
        text = second.communicate()[0]
        if second.returncode == 0:
            break
        time.sleep(1)
    assert second.returncode == 0, text
    assert json.loads(path.read_text()) == state
    for words in ('MixedAE', 'random encoder', 'from scratch', 'Linear', 'kNN', 'mIoU', 'bbox'):
        assert words in text
    pictures = sorted(p.name for p in (tmp_path / 'pictures').glob('*.png'))
    assert pictures == ['mixedae_reconstructions.png', 'mixedae_topk_accuracy.png']
    assert 'leaderboard.html' in text and (tmp_path / 'leaderboard.html').is_file()
    table = (tmp_path / 'table.txt').read_text()

    third = run_quick(tmp_path)
    text = third.communicate()[0]
    assert third.returncode == 0 and 'to do' not in text
    assert (tmp_path / 'table.txt').read_text() == table
    printed = run_quick(tmp_path, '--dry-run').communicate()[0]
    assert printed.count(': done; ') == len(load_suite(ROOT / 'configs/suites/demo_quick.py').plan)
