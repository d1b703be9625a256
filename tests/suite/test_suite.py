"""The demo: what is run, skipped, resumed and started over; and, slowly, all of it."""

import fcntl
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from mixae import demo
from mixae.demo import DemoError, Display, Folder, Run, fraction_done, make_plan, run_plan
from mixae.leaderboard.record import metric, new_record, write_record

MAE_CONFIG = 'configs/mae/vitmini_digits_12e.py'
LINEAR_CONFIG = 'configs/transfer/digit_scenes/vitmini_linear.py'
TUNE_CONFIG = 'configs/transfer/digit_scenes/vitmini_finetune.py'


def small_plan(seed=0):
    options = {'randomness.seed': seed}
    return [
        Run('a', 'A', 'pretrain', MAE_CONFIG, options=options),
        Run('b', 'B', 'pretrain', MAE_CONFIG, options={**options, 'train_cfg.max_epochs': 3}),
        Run('c', 'C', 'pretrain', MAE_CONFIG, teacher='a', options=options),
        Run('tune_a', 'TA', 'finetune', TUNE_CONFIG, 'a', options=options),
        Run('probe_a', 'PA', 'probe', LINEAR_CONFIG, 'a', options=options),
        Run('probe_b', 'PB', 'probe', LINEAR_CONFIG, 'b', options=options),
        Run('probe_random', 'PR', 'probe', LINEAR_CONFIG, 'scratch', options=options),
        Run('picture', 'P', 'picture', 'tools/x.py', 'b', arguments=('{b}', '--out', '{out}')),
    ]


class Ended:
    """A process that has ended."""

    pid = 2**30  # no process has it

    def __init__(self, code):
        self.code = code

    def poll(self):
        return self.code


class FakeRuns:
    """Leaves what runs leave, without running them; keeps the commands they would have run.

    ``killed`` is the run at which the demo is interrupted, after that run's first checkpoint.
    """

    def __init__(self, killed=None, failing=None):
        self.commands, self.killed, self.failing = {}, killed, failing

    def __call__(self, folder, run, threads, lock):
        self.commands[run.name], before = folder.begin(run)
        log = folder.log(run)
        log.write_text('starting\n')
        process = demo._Process(
            run, Ended(int(run.name == self.failing)), log, before, None, time.monotonic()
        )
        if run.name == self.killed:
            (folder[run] / 'epoch_1.pth').write_text('half')
            raise KeyboardInterrupt
        if run.name == self.failing:
            log.write_text('starting\nTraceback (most recent call last):\nValueError: broken\n')
            return process
        if run.kind == 'pretrain':
            for old in folder[run].glob('epoch_*.pth'):
                old.unlink()
            (folder[run] / 'epoch_8.pth').write_bytes(os.urandom(8))
        elif run.kind == 'picture':
            (folder.path / f'{run.name}.png').write_text('picture')
        else:
            write_record(a_record(run.kind), folder[run] / 'records')
        return process


def a_record(kind):
    return new_record(
        task='linear' if kind == 'probe' else 'finetune',
        protocol=dict(name='x', version='1'),
        method='mae',
        backbone=dict(arch='x', patch_size=8, img_size=64),
        dataset=dict(name='d', description=None, split='test', n_train=1, n_test=1),
        metrics={'accuracy/top1': metric(50.0)},
        config=dict(path='c.py', sha256='0' * 64),
        versions={'python': '3'},
        device=dict(name='x', count=1, cpu_threads=1),
        commit=dict(hash=None, dirty=None),
        seed=0,
    )


@pytest.fixture
def call(tmp_path):
    """Runs a plan with fake runs and returns the commands that were needed."""

    def call(plan, **fake):
        runs = FakeRuns(**fake)
        folder = Folder(tmp_path, plan)
        done = {run.name for run in plan if folder.is_done(run)}
        with Display(plan, done, Console(file=io.StringIO())) as display:
            try:
                run_plan(plan, folder, 2, 1, display, start=runs, pause=0)
            except KeyboardInterrupt:
                pass
        return runs.commands

    call.path = tmp_path
    return call


ALL = [run.name for run in small_plan()]


def test_all_runs_once_and_then_none(call):
    assert sorted(call(small_plan())) == sorted(ALL)
    assert call(small_plan()) == {}


def test_runs_start_from_what_they_need(call):
    commands = call(small_plan())
    names = list(commands)
    for run in small_plan():
        for needed in run.needs:
            assert names.index(needed) < names.index(run.name)
    a = str(call.path / 'a' / 'epoch_8.pth')
    assert commands['tune_a'][commands['tune_a'].index('--pretrained') + 1] == a
    assert commands['probe_a'][3] == a and commands['probe_random'][3] == 'scratch'
    assert f'model.teacher.checkpoint={a}' in commands['c']
    assert commands['picture'][2:] == [
        str(call.path / 'b' / 'epoch_8.pth'),
        '--out',
        str(call.path / 'picture.png'),
    ]
    assert not {'--resume', '--overwrite'} & {word for c in commands.values() for word in c}


def test_an_interrupted_call_goes_on_where_it_was(call):
    first = call(small_plan(), killed='c')
    second = call(small_plan())
    assert 'c' in first and set(first) | set(second) == set(ALL)
    assert set(first) & set(second) <= {'c', list(first)[-1], *list(first)[-2:]}
    assert 'a' not in second
    assert second['c'][-1] == '--resume'


def test_a_finetuning_killed_after_its_last_checkpoint_starts_over(call):
    call(small_plan(), killed='tune_a')
    last = 'epoch_2.pth'
    (call.path / 'tune_a' / 'epoch_1.pth').rename(call.path / 'tune_a' / last)
    from mmengine.config import Config

    assert last == f'epoch_{Config.fromfile(demo.ROOT / TUNE_CONFIG).train_cfg.max_epochs}.pth'
    assert call(small_plan())['tune_a'][-1] == '--overwrite'


def test_a_changed_config_is_run_again_and_nothing_else(call):
    call(small_plan())
    changed = small_plan()
    changed[1] = Run('b', 'B', 'pretrain', MAE_CONFIG, options={'train_cfg.max_epochs': 4})
    commands = call(changed)
    assert sorted(commands) == ['b', 'picture', 'probe_b']
    assert commands['b'][-1] == '--overwrite'
    assert sorted(call(small_plan(seed=1))) == sorted(ALL)


def test_what_came_from_a_lost_or_damaged_checkpoint_is_run_again(call):
    call(small_plan())
    (call.path / 'a' / 'epoch_8.pth').unlink()
    assert sorted(call(small_plan())) == ['a', 'c', 'probe_a', 'tune_a']
    (call.path / 'b' / 'epoch_8.pth').write_text('damaged')
    assert sorted(call(small_plan())) == ['b', 'picture', 'probe_b']


def test_a_damaged_record_or_picture_is_made_again(call):
    call(small_plan())
    next((call.path / 'probe_random' / 'records').iterdir()).write_text('{}')
    (call.path / 'picture.png').unlink()
    assert sorted(call(small_plan())) == ['picture', 'probe_random']
    assert call(small_plan()) == {}


def test_a_run_that_fails_is_named_with_its_reason_and_log(call):
    with pytest.raises(DemoError, match=r'PB failed .*ValueError: broken\n.*probe_b/output\.log'):
        call(small_plan(), failing='probe_b')
    assert 'probe_b' in call(small_plan())


def test_a_run_that_leaves_no_result_is_no_success(call, monkeypatch):
    monkeypatch.setattr(demo, 'checkpoints', lambda folder: [])
    with pytest.raises(DemoError, match='A left no result'):
        call(small_plan())


def test_the_plan_is_sound():
    plan = make_plan()
    names = [run.name for run in plan]
    assert len(set(names)) == len(names)
    for i, run in enumerate(plan):
        assert set(run.needs) <= set(names[:i])
        assert (demo.ROOT / run.target).is_file()
    assert {run.name for run in plan if run.kind != 'pretrain'} >= {
        f'{kind}_{start}'
        for kind in ('finetune', 'linear', 'knn')
        for start in ('scratch', 'mae', 'mixedae', 'imae')
    }


def test_mae_mixedae_and_imae_see_as_many_images():
    from mmengine.config import Config

    from mixae.engine.resolve import resolve

    cfgs = {
        run.name: resolve(Config.fromfile(demo.ROOT / run.target), cuda=False)[0]
        for run in make_plan()
        if run.kind == 'pretrain' and run.name != 'pretrain_imae'
    } | {'imae': Config.fromfile(demo.ROOT / 'configs/imae' / _imae_config())}
    epochs = {name: cfg.train_cfg.max_epochs for name, cfg in cfgs.items()}
    assert epochs['pretrain_mae'] == epochs['pretrain_mixedae'] == 2 * epochs['imae']
    assert len({cfg.train_dataloader.batch_size for cfg in cfgs.values()}) == 1


def _imae_config():
    return Path(next(r.target for r in make_plan() if r.name == 'pretrain_imae')).name


@pytest.mark.parametrize(
    'log, max_epochs, expected',
    [
        ('', 8, 0.0),
        ('Epoch(train)  [1][ 10/100]  lr: 1\n', 8, 0.1 / 8),
        ('Epoch(train) [3][50/100] lr\nSaving\nEpoch(train) [5][100/100]\n', 8, 5 / 8),
        ('loading', None, 0.1),
        ('training features \n', None, 0.2),
        ('training features \ntest features ', None, 0.8),
    ],
)
def test_progress_is_read_from_the_log(log, max_epochs, expected):
    assert fraction_done(log, max_epochs) == pytest.approx(expected)


def test_progress_without_a_terminal_is_short_lines():
    out = io.StringIO()
    plan = small_plan()[:2]
    with Display(plan, {'a'}, Console(file=out)) as display:
        display.begin(plan[1], resumed=True)
        display.update(plan[1], 0.5)
        assert display.fractions == {'a': 1.0, 'b': 0.5}
        display.end(plan[1], 61.0, '50.0 %')
    assert out.getvalue().splitlines() == ['B: resumed', 'B: 50.0 %, 1.0 min']


def test_the_time_left_follows_the_pace_of_this_call_alone(monkeypatch):
    plan = small_plan()[:2]
    clock = iter([0.0, 0.0])
    monkeypatch.setattr(demo.time, 'monotonic', lambda: next(clock, 60.0))
    with Display(plan, set(), Console(file=io.StringIO())) as display:
        display.begin(plan[0], resumed=True)
        display.update(plan[0], 0.75)  # what an earlier call has done
        display.begin(plan[1], resumed=False)
        display.update(plan[1], 0.5)
        # A minute for half a run: three quarters of one are left.
        assert display.left() == 'about 2 min left'
        display.update(plan[1], 0.25)
        assert display.fractions['b'] == 0.5


def test_progress_on_a_terminal_is_bars():
    out = io.StringIO()
    plan = small_plan()[:2]
    console = Console(file=out, force_terminal=True, width=80, _environ={'TERM': 'xterm'})
    with Display(plan, set(), console) as display:
        display.begin(plan[0], resumed=False)
        display.update(plan[0], 0.5)
        display.bars.refresh()
    text = re.sub(r'\x1b\[[0-9;?]*[a-zA-Z]', '', out.getvalue())
    assert re.search(r'A .* 50%', text) and re.search(r'all runs .* 25%', text)


def test_the_verdict_in_words_follows_the_records(call):
    plan = [
        Run('linear_scratch', 'R', 'probe', LINEAR_CONFIG, 'scratch'),
        Run('linear_mae', 'M', 'probe', LINEAR_CONFIG, 'scratch'),
    ]
    call(plan)
    folder = Folder(call.path, plan)
    (line,) = demo.check_pays(folder, ['mae'])
    assert 'does NOT pay' in line and '(+0.0 points' in line
    (line,) = demo.check_pays(folder, ['mae'], margin=-1)
    assert 'Pre-training pays' in line
    rows = [dict(iter=1, chance=0.25, layers={'1': 0.2, '2': 0.26})]
    assert 'does NOT isolate' in demo.check_topk(rows)
    rows[0]['layers']['1'] = 0.4
    assert 'attention isolates' in demo.check_topk(rows)


def test_two_demos_in_one_folder_are_refused(tmp_path):
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(DemoError, match='at work in'):
        demo.demo(tmp_path)
    os.close(other)


# ---- all of it --------------------------------------------------------------------------------


def run_demo(work_dir, **kwargs):
    return subprocess.run(
        [sys.executable, str(demo.ROOT / 'tools' / 'demo.py'), '--quick', '--work-dir', work_dir],
        capture_output=True,
        text=True,
        **kwargs,
    )


@pytest.mark.slow
def test_the_quick_demo_end_to_end(tmp_path):
    """Killed with its runs in the middle of pre-training, repeated, repeated again."""
    command = [sys.executable, str(demo.ROOT / 'tools' / 'demo.py'), '--quick', '--work-dir']
    first = subprocess.Popen([*command, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    for line in first.stdout:
        if re.search(r'pre-training MAE: \d', line):
            break
    time.sleep(1)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 130
    state = json.loads((tmp_path / 'pretrain_mae' / 'run.json').read_text())

    second = run_demo(tmp_path)
    assert second.returncode == 0, second.stderr
    assert json.loads((tmp_path / 'pretrain_mae' / 'run.json').read_text()) == state
    for words in ('MixedAE', 'i-MAE', 'random encoder', 'from scratch', 'Linear', 'kNN'):
        assert words in second.stdout
    pictures = sorted(path.name for path in tmp_path.glob('*.png'))
    assert pictures == [
        'imae_reconstructions.png',
        'mae_reconstructions.png',
        'mixedae_reconstructions.png',
        'mixedae_topk_accuracy.png',
    ]
    assert all(name in second.stdout for name in pictures)

    third = run_demo(tmp_path)
    assert third.returncode == 0 and 'to do' not in third.stdout
    shutil.rmtree(tmp_path / 'linear_mae')
    fourth = run_demo(tmp_path)
    assert '1 of 19 runs to do' in fourth.stdout
