"""How far a suite is, while it runs, and how long what is left will take."""

import re
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from mixae.suite.folder import Folder
from mixae.suite.plan import Run

_EPOCH = re.compile(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\]')
_ITER = re.compile(r'Iter\(train\)\s+\[\s*(\d+)/(\d+)\]')
_STEP = re.compile(r'(?:Epoch|Iter)\(train\)[^\n]* time: (\d+\.\d+)')
DEFAULT_SECONDS = 30.0  # weighs the bar of a run that nothing is known of


def fraction_done(log: str, run: Run, max_epochs: int | None) -> float:
    """How far a run is, in [0, 1], by what it has printed.

    Args:
        log (str): Its output so far.
        run (Run): The run.
        max_epochs (int, optional): Of training by epochs.
    """
    if run.tool == 'train':
        if found := _EPOCH.findall(log):
            epoch, step, steps = map(int, found[-1])
            return min(1.0, (epoch - 1 + step / steps) / (max_epochs or epoch))
        if found := _ITER.findall(log):
            return min(1.0, int(found[-1][0]) / int(found[-1][1]))
        return 0.0
    if run.tool in ('test', 'analysis'):
        second = 'test features' in log or 'held-out features' in log
        return {0: 0.1, 1: 0.2, 2: 0.8}[('training features' in log) + second]
    return 0.0


# ---- what it will take ------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """The time a run needs.

    Attributes:
        seconds (float, optional): None where nothing was measured.
        basis (str): What was measured, in words.
    """

    seconds: float | None
    basis: str


def estimate(folder: Folder, run: Run) -> Estimate:
    """How long a run will take, from what this work directory has measured.

    In this order: the run's own time where it is done; its own steps where it was interrupted; the
    time of the same run with another seed; the steps of another run of the same config; what the
    suite says of one CPU core.
    """
    state = folder.state(run)
    if state.get('outputs') and 'seconds' in state:
        return Estimate(state['seconds'], 'its own run')
    if steps := _steps(folder, run, run):
        return Estimate(steps, 'its own steps so far')
    others = [other for other in folder.suite.plan if other.target == run.target and other != run]
    seeds = [folder.state(o)['seconds'] for o in others if _is_repeat(folder, o, run)]
    if seeds:
        return Estimate(statistics.mean(seeds), f'{len(seeds)} finished with other seeds')
    found = [seconds for other in others if (seconds := _steps(folder, other, run))]
    if found:
        return Estimate(statistics.mean(found), f'steps of {len(found)} with the same config')
    if run.seconds is not None:
        return Estimate(run.seconds, 'as the suite says of one CPU core')
    return Estimate(None, 'nothing measured yet')


def _is_repeat(folder: Folder, other: Run, run: Run) -> bool:
    def what(r: Run) -> dict:
        return {k: v for k, v in r.options.items() if k != 'randomness.seed'}

    state = folder.state(other)
    whole = 'seconds' in state and not state.get('resumed')  # else it is the time of a part
    return whole and what(other) == what(run)


def _steps(folder: Folder, measured: Run, run: Run) -> float | None:
    """The steps that ``measured`` has logged, as many of them as ``run`` takes, in seconds."""
    if run.tool != 'train':
        return None
    try:
        log = folder.log(measured).read_text(errors='replace')
    except OSError:
        return None
    times = [float(found) for found in _STEP.findall(log)]
    if not times:
        return None
    train = folder.config(run).train_cfg
    if found := _EPOCH.findall(log):
        steps = int(found[-1][2]) * train.max_epochs
    else:
        steps = train.max_iters
    return statistics.median(times) * steps


# ---- while it runs ----------------------------------------------------------------------------


class Display:
    """Bars with the time left on a terminal, short lines elsewhere.

    Args:
        plan (Iterable[Run]): All runs.
        done (set[str]): The names of those that are done before.
        console (Console, optional): Where to. Defaults to None: standard output.
        weights (dict, optional): Seconds by name, as far as known. Defaults to None: the suite's.
    """

    def __init__(
        self,
        plan: Iterable[Run],
        done: set[str],
        console: Console | None = None,
        weights: dict[str, float | None] | None = None,
    ) -> None:
        self.console = console or Console(highlight=False)
        self.plan = list(plan)
        weights = weights or {}
        self.weights = {
            run.name: weights.get(run.name) or run.seconds or DEFAULT_SECONDS for run in self.plan
        }
        self.fractions = {run.name: 1.0 if run.name in done else 0.0 for run in self.plan}
        # What was done before this call says nothing of its pace: by name, how much of it.
        self.earlier = {run.name: 1.0 for run in self.plan if run.name in done}
        self.started = time.monotonic()
        self.said = self.started
        self.bars = Progress(
            TextColumn('{task.description}'),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn('{task.fields[left]}'),
            console=self.console,
            expand=True,
            disable=not self.console.is_terminal,
        )
        self.total = self.bars.add_task('all runs', total=1.0, left='')
        self.tasks: dict[str, int] = {}
        self.resumed: set[str] = set()

    def __enter__(self) -> 'Display':
        self.bars.start()
        return self

    def __exit__(self, *error) -> None:
        self.bars.stop()

    def weigh(self, weights: dict[str, float | None]) -> None:
        """Take over what is known by now of how long runs take; None leaves a run's as it is."""
        self.weights |= {name: seconds for name, seconds in weights.items() if seconds}

    def _sum(self, fractions: dict[str, float]) -> float:
        return sum(self.weights[name] * fraction for name, fraction in fractions.items())

    def left(self) -> str:
        """The time left at the pace so far."""
        now, total = self._sum(self.fractions), sum(self.weights.values())
        own, elapsed = now - self._sum(self.earlier), time.monotonic() - self.started
        if own < 0.02 * total or elapsed < 10:
            return ''
        seconds = elapsed * (total - now) / own
        return f'about {max(1, round(seconds / 60))} min left'

    def say(self, text: str) -> None:
        """A line above the bars."""
        self.console.print(text, soft_wrap=True, markup=False)
        self.said = time.monotonic()

    def begin(self, run: Run, resumed: bool) -> None:
        """A run starts."""
        if resumed:
            self.resumed.add(run.name)
        if self.console.is_terminal:
            self.tasks[run.name] = self.bars.add_task(run.title, total=1.0, left='')
        else:
            self.say(f'{run.title}: {"resumed" if resumed else "started"}')

    def update(self, run: Run, fraction: float) -> None:
        """A run got further."""
        if run.name in self.resumed and fraction > 0:
            self.earlier[run.name] = fraction
            self.resumed.remove(run.name)
        self.fractions[run.name] = max(fraction, self.fractions[run.name])
        if run.name in self.tasks:
            self.bars.update(self.tasks[run.name], completed=self.fractions[run.name])
        share = self._sum(self.fractions) / sum(self.weights.values())
        self.bars.update(self.total, completed=share, left=self.left())
        if not self.console.is_terminal and time.monotonic() - self.said > 30:
            self.say(', '.join(filter(None, [f'{share:.0%} of all runs', self.left()])))

    def end(self, run: Run, text: str) -> None:
        """A run has ended; ``text`` says how."""
        self.update(run, 1.0)
        if run.name in self.tasks:
            self.bars.remove_task(self.tasks.pop(run.name))
        self.say(f'{run.title}: {text}')


def duration(seconds: float) -> str:
    """For people: '12 s', '3.4 min', '5.6 h', '2.1 days'."""
    for size, unit in ((86400, 'days'), (3600, 'h'), (60, 'min')):
        if seconds >= size:
            return f'{seconds / size:.1f} {unit}'
    return f'{seconds:.0f} s'


def tail(path: Path, size: int = 20_000) -> str:
    """The last ``size`` bytes of a log as text."""
    with open(path, 'rb') as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - size))
        return file.read().decode(errors='replace')
