"""What is done, changed, interrupted or damaged in a work directory."""

import json
from dataclasses import replace

import pytest
from mmengine.config import Config

from mixae.errors import SuiteError
from mixae.results.record import read_record
from mixae.suite.plan import ROOT, Suite
from mixae.suite.processes import command, headline
from mixae.suite.progress import estimates
from mixae.suite.run import check_changes, summarise
from mixae.suite.state import Folder
from tests.suite.stand_ins import ALL, MAE_CONFIG, TUNE_CONFIG, small_suite


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
    assert json.loads((call.path / 'c/options.json').read_text()) == {
        'randomness.seed': 0,
        'model.teacher.checkpoint': a,
    }
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


def test_a_kill_at_the_start_does_not_make_an_earlier_result_this_runs(call):
    call(small_suite())
    changed = small_suite(**{'train_cfg.max_epochs': 4})
    folder = Folder(call.path, changed)
    folder.begin(changed['b'])  # and the power goes, before anything is trained
    assert not folder.is_done(changed['b'])
    assert '--resume' not in command(folder, changed['b'])
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


def test_a_changed_config_is_noticed_and_named_before_anything_runs(call, capsys):
    call(small_suite())
    suite = small_suite(**{'train_cfg.max_epochs': 4})
    folder = Folder(call.path, suite)
    assert folder.status(suite['b']) == 'changed'
    assert folder.changes(suite['b']) == ['train_cfg.max_epochs: 3 -> 4']
    assert folder.changes(suite['a']) == []
    with pytest.raises(SuiteError, match=r'b: train_cfg.max_epochs: 3 -> 4'):
        check_changes(folder, suite.plan)
    # tools/evaluate.py has no such option: the advice names the tool that has it.
    with pytest.raises(SuiteError, match=r'tools/run_suite.py and --work-dir .* --on-change redo'):
        check_changes(folder, suite.plan)
    check_changes(folder, suite.plan, 'redo')
    assert 'train_cfg.max_epochs: 3 -> 4' in capsys.readouterr().out


def test_where_and_on_what_a_run_stands_does_not_change_it(call):
    """The suite's own bookkeeping is no setting: other seeds, titles and budgets share results."""
    call(small_suite())
    plan = [replace(run, title='T', seconds=1.0) for run in small_suite().plan]
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


@pytest.mark.parametrize(
    'text',
    [
        '',
        '[]',
        '{"outputs": 3}',
        '{"outputs": [{"path": 3, "sha256": "x"}]}',
        '{"outputs": [{"path": "epoch_8.pth"}]}',
        '{"outputs": [], "settings": 3}',
        '{"seconds": "long"}',
        '\x00',
        '[' * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_a_damaged_state_is_none(call, text):
    call(small_suite())
    (call.path / 'b' / 'run.json').write_text(text)
    folder = Folder(call.path, small_suite())
    assert folder.status(folder.suite['b']) == 'new' and estimates(folder)['b'].seconds is None
    assert sorted(call(small_suite())) == ['b', 'p/icture', 'probe_b']


def test_all_records_of_an_analysis_are_its_result(call):
    call(small_suite())
    folder, run = call.folder, small_suite()['table_4']
    assert {r['dataset']['name'] for r in map(read_record, folder.results(run))} == {'one', 'two'}
    assert headline(folder, run) == '2 records, ' and folder.settings(run)['tool'] == 'tools/y.py'
    # One is lost: both are made anew, and what is left of the first call does not count.
    left, lost = folder.results(run)
    lost.unlink()
    assert list(call(small_suite())) == ['table_4']
    assert len(folder.results(run)) == 2 and left not in folder.results(run)
    summarise(folder)
    # A config that it names is one of its settings.
    changed = Folder(call.path, small_suite())
    run.configs[MAE_CONFIG].train_cfg.max_epochs = 5
    assert changed.changes(run) == [f'{MAE_CONFIG}.train_cfg.max_epochs: 12 -> 5']
    assert not changed.is_done(run)
