"""How long runs take, and how far they are."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from mixae.suite.plan import Run
from mixae.suite.progress import Display, Estimate, duration, estimates, fraction_done, time_left
from mixae.suite.state import Folder
from tests.suite.stand_ins import TUNE_CONFIG, small_suite, unmeasured


@pytest.mark.parametrize(
    'log, expected',
    [
        ('', 0.0),
        ('Iter(train) [  50/200]  lr: 1\n', 0.25),
        ('Epoch(train)  [1][ 10/100]  lr: 1\n', 0.1 / 12),
        ('Epoch(train) [3][50/100] lr\nSaving\nEpoch(train) [5][100/100]\n', 5 / 12),
    ],
)
def test_progress_is_read_from_the_log(log, expected):
    assert fraction_done(log, small_suite()['a']) == pytest.approx(expected)


@pytest.mark.parametrize(
    'log, expected',
    [('x', 0.1), ('training features \n', 0.2), ('training features \ntest features ', 0.8)],
)
def test_progress_of_a_probe_is_read_from_the_log(log, expected):
    assert fraction_done(log, small_suite()['probe_a']) == expected


def test_the_time_is_estimated_from_what_was_measured_and_else_as_the_suite_says(call):
    plan = (*small_suite().plan, Run('d', 'D', 'train', TUNE_CONFIG, 'a', seconds=50.0))
    suite = replace(small_suite(), plan=plan)
    folder = Folder(call.path, suite)
    b, c = suite['b'], suite['c']
    done = dict(outputs=[dict(path='x', sha256='0')], seconds=7.0)
    assert estimates(folder)['a'] == Estimate()
    assert estimates(folder)['d'] == Estimate(50.0, 'as the suite says of one CPU core')
    folder.write_state(b)
    folder.log(b).write_text(
        'Epoch(train) [1][10/100]  eta: 0:00:10  time: 0.2000  data_time: 0.01\n'
        'Epoch(train) [1][20/100]  eta: 0:00:10  time: 0.4000  data_time: 0.01\n'
        'Epoch(train) [1][30/100]  eta: 0:00:10  time: 0.3000  data_time: 0.01\n'
    )
    assert estimates(folder)['b'].seconds == pytest.approx(0.3 * 100 * 3)
    found = estimates(folder)['a']  # the same config, 12 epochs of it
    assert found.seconds == pytest.approx(0.3 * 100 * 12) and 'same config' in found.basis
    folder.write_state(c, **done)
    assert estimates(folder)['c'].seconds == 7.0
    assert 'other seeds' in estimates(folder)['a'].basis  # c is a, but for its teacher's
    folder.write_state(c, **done, resumed=True)
    assert 'same config' in estimates(folder)['a'].basis  # 7 s were a part of c
    # What is said of a run is scaled by what was measured of others of which something is said.
    folder.suite = replace(suite, plan=(*plan[:2], replace(c, seconds=70.0), *plan[3:]))
    folder.write_state(c, **done)
    scaled = estimates(folder)['d']
    assert scaled.seconds == pytest.approx(5.0) and 'times 0.1' in scaled.basis


def test_the_time_left_is_shared_by_the_runs_at_a_time_but_not_the_longest_run():
    times = {name: Estimate(100.0) for name in 'abc'} | {'d': Estimate()}
    assert time_left(times, dict(a=0.0, b=0.0, c=0.5), 2) == (125.0, 0)
    assert time_left(times, dict(a=0.0, b=1.0, c=1.0, d=0.5), 2) == (100.0, 1)
    assert time_left(times, dict(a=1.0), 2) == (0.0, 0)


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
    with Display(plan, {'a'}, unmeasured(small_suite()), console=Console(file=out)) as display:
        display.begin(plan[1], resumed=True)
        display.update(plan[1], 0.5)
        assert display.fractions == {'a': 1.0, 'b': 0.5}
        display.end(plan[1], '50.0 %, 1.0 min')
    assert out.getvalue().splitlines() == ['B: resumed', 'B: 50.0 %, 1.0 min']


def test_the_time_left_follows_what_is_measured_while_runs_go_on(monkeypatch):
    plan = small_suite().plan[:2]
    clock = [0.0]
    monkeypatch.setattr('mixae.suite.progress.time.monotonic', lambda: clock[0])
    times = {'a': Estimate(600.0), 'b': Estimate(60.0)}
    out = io.StringIO()
    with Display(plan, set(), lambda: dict(times), console=Console(file=out)) as display:
        display.update(plan[0], 0.75)
        assert display.left() == 'about 3.5 min left'
        # The first turns out to take twenty minutes, of which five are left; b's bar stays small.
        times['a'] = Estimate(1200.0)
        display.update(plan[0], 0.5)
        assert display.fractions['a'] == 0.75 and display.left() == 'about 3.5 min left'
        clock[0] = 31.0
        display.update(plan[0], 0.75)
        assert display.left() == 'about 6.0 min left'
        assert out.getvalue() == '71% of all runs, about 6.0 min left\n'
        times['b'] = Estimate()
        display.end(plan[0], 'done')
        assert display.left() == ''  # of unknown length


def test_progress_on_a_terminal_is_bars():
    out = io.StringIO()
    plan = small_suite().plan[:2]
    console = Console(file=out, force_terminal=True, width=80, _environ={'TERM': 'xterm'})
    with Display(plan, set(), unmeasured(small_suite()), console=console) as display:
        display.begin(plan[0], resumed=False)
        display.update(plan[0], 0.5)
        display.bars.refresh()
    text = re.sub(r'\x1b\[[0-9;?]*[a-zA-Z]', '', out.getvalue())
    assert re.search(r'A .* 50%', text) and re.search(r'all runs .* 25%', text)
