"""From a suite to its table: dry runs, verdicts, holes, mistakes; and, slowly, the demo."""

import json
import re
import subprocess
import sys
import time

import pytest

from mixae.errors import BusyError, OutputError, SuiteError
from mixae.files import lock_folder
from mixae.suite.checks import topk_isolates
from mixae.suite.plan import ROOT, Run, Suite, load_suite
from mixae.suite.processes import Machine
from mixae.suite.run import dry_run, missing, open_suite, run_suite, summarise
from mixae.suite.state import Folder
from tests.suite.stand_ins import LINEAR_CONFIG, MAE_CONFIG, small_suite

SUITES = sorted(p for p in (ROOT / 'configs' / 'suites').rglob('*.py') if p.parent.name != '_base_')


@pytest.mark.parametrize('path', SUITES, ids=lambda path: path.stem)
def test_the_suites_that_ship_can_be_printed_before_anything_runs(path, tmp_path, capsys):
    suite = load_suite(path, seeds=[3])
    dry_run(Folder(tmp_path / 'w', suite), suite.plan, 2)
    text = capsys.readouterr().out
    for run in suite.plan:
        assert re.search(rf'^{re.escape(run.name)}: new;', text, re.MULTILINE)
    assert f'\n{len(suite.plan)} runs; ' in text
    assert ('of unknown length' in text) or ('what is left takes about' in text)
    assert 'about 0 s' not in text
    assert not (tmp_path / 'w').exists()


def test_the_verdict_on_homologous_attention_follows_its_curve(call, monkeypatch):
    config = 'configs/mixedae/vitmini_digits_12e.py'
    call(Suite('s', 'S', (Run('m', 'P', 'train', config),), ('linear',)))
    rows = [dict(iter=1, chance=0.25, layers={'1': 0.2, '2': 0.26})]
    monkeypatch.setattr('mixae.suite.checks.curve_rows', lambda folder: rows)
    for accuracy, words in ((0.3, 'does NOT isolate'), (0.7, 'begins to'), (0.96, 'n isolates')):
        rows[0]['layers']['1'] = accuracy
        assert words in topk_isolates(call.folder, None)[0]


def test_the_table_of_what_is_done_is_shown_while_some_is_missing(call, capsys):
    call(small_suite(), failing='probe_a')
    (call.path / 'p/icture.png').unlink()  # not a picture
    summarise(call.folder)
    assert '1 of 5 evaluations are not done' in capsys.readouterr().out
    assert 'MAE' in (call.path / 'table.txt').read_text()
    assert '<html' in (call.path / 'leaderboard.html').read_text()
    empty = Folder(call.path / 'empty', small_suite())
    summarise(empty)
    assert 'No evaluation is done yet' in capsys.readouterr().out


def test_two_suites_at_work_on_one_run_are_refused(tmp_path):
    other = lock_folder(tmp_path / 'mae_seed0' / 'pretrain')
    folder, plan = open_suite(ROOT / 'configs/suites/demo.py', tmp_path)
    suite = folder.suite
    assert folder.status(suite['mae_seed0/pretrain']) == 'running'
    assert folder.status(suite['mixedae_seed0/pretrain']) == 'new'
    with pytest.raises(BusyError, match='at work on .*mae_seed0'):
        run_suite(folder, plan, Machine(1, 1))
    other.close()


def test_a_run_that_takes_more_gpus_than_there_are_is_refused(tmp_path):
    folder, plan = open_suite(ROOT / 'configs/suites/demo.py', tmp_path / 'w', gpus=8)
    with pytest.raises(SuiteError, match='takes 8 GPUs, and this machine has 2: say --gpus 2'):
        run_suite(folder, plan, Machine(1, 1, gpus=2))
    assert not (tmp_path / 'w').exists()


def three_seeds():
    plan = []
    for seed in range(3):
        options, start = {'randomness.seed': seed}, f'm_seed{seed}/pretrain'
        plan += [
            Run(start, f'pre-training M, seed {seed}', 'train', MAE_CONFIG, options=options),
            Run(
                f'm_seed{seed}/linear',
                f'linear probe of M, seed {seed}',
                'test',
                LINEAR_CONFIG,
                start,
                options=options,
            ),
        ]
    return Suite('three', 'Three', tuple(plan), ('linear',))


def test_a_seed_that_fails_leaves_a_hole_that_table_and_page_show(call, capsys):
    call(three_seeds(), failing='m_seed1/linear')
    summarise(call.folder)
    hole = (
        '1 of 3 evaluations are not done, and their seeds are in no mean: '
        'linear probe of M (seed 1: failed).'
    )
    (line,) = missing(call.folder)
    assert line == hole
    for text in (capsys.readouterr().out, (call.path / 'table.txt').read_text()):
        assert hole in ' '.join(text.split())
    assert 'seed 1: failed' in (call.path / 'table.md').read_text()
    assert 'seed 1: failed' in (call.path / 'leaderboard.html').read_text()
    call(three_seeds(), failing='m_seed1/pretrain')  # of which everything is lost now
    assert call.failed == {}
    summarise(call.folder)
    assert 'not done' not in capsys.readouterr().out
    assert 'not done' not in (call.path / 'table.txt').read_text()


def test_a_study_goes_on_in_another_folder(call):
    first = call(three_seeds(), killed='m_seed2/pretrain')
    for path in call.path.rglob('run.json'):
        assert str(call.path) not in path.read_text()
    new = call.path.with_name('moved')
    call.path.rename(new)
    call.path = new
    commands = call(three_seeds())
    assert not call.failed and set(first) & set(commands) == {'m_seed2/pretrain'}
    assert commands['m_seed2/pretrain'][-1] == '--resume'
    assert call(three_seeds()) == {}


def test_a_disk_that_is_full_when_a_result_is_noted_does_not_lose_the_others(call, monkeypatch):
    def write(path, text):
        if path.parent.name == 'b' and 'outputs' in text or 'failed' in text:
            raise OutputError(f'{path} cannot be written (No space left on device).')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    monkeypatch.setattr('mixae.suite.state.write_whole', write)
    call(small_suite())
    assert set(call.failed) == {'b', 'probe_b', 'p/icture'}
    assert 'No space left' in call.failed['b']
    monkeypatch.undo()
    assert sorted(call(small_suite())) == ['b', 'p/icture', 'probe_b']


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
    for words in ('MixedAE', 'random encoder', 'from scratch', 'Linear', 'mIoU', 'bbox'):
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
