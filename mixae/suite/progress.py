"""How long runs take, and how far they are: the one source of all times that a suite shows."""

import os
import re
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from mixae.suite.plan import Run
from mixae.suite.state import Folder

_EPOCH = re.compile(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\]')
_ITER = re.compile(r'Iter\(train\)\s+\[\s*(\d+)/(\d+)\]')
_STEP = re.compile(r'(?:Epoch|Iter)\(train\)[^\n]* time: (\d+\.\d+)')
DEFAULT_SECONDS = 30.0  # weighs the bar of a run that nothing is known of


@dataclass(frozen=True)
class Estimate:
    """The time a whole run needs.

    Attributes:
        seconds (float, optional): None where nothing was measured.
        basis (str): What was measured, in words.
    """

    seconds: float | None = None
    basis: str = 'nothing measured yet'


def estimates(folder: Folder) -> dict[str, Estimate]:
    """How long each run of a suite takes, by name, from what its work directory has measured.

    In this order: the run's own time where it is done; its own steps where it was begun; the time
    of the same run with another seed or checkpoint; the steps of another run of the same config;
    what the suite says of one CPU core, times what finished runs took of what it says of them.
    """
    plan = folder.suite.plan
    states = {run.name: folder.state(run) for run in plan}
    took = {name: s['seconds'] for name, s in states.items() if s.get('outputs') and 'seconds' in s}
    whole = {name: took[name] for name in took if not states[name].get('resumed')}
    steps = {run.name: _steps(folder.log(run)) for run in plan if run.tool == 'train'}
    paces = [whole[r.name] / r.seconds for r in plan if r.name in whole and r.seconds]
    pace = statistics.median(paces) if paces else 1.0

    def of(run: Run) -> Estimate:
        if run.name in took:
            return Estimate(took[run.name], 'its own run')
        if steps.get(run.name):
            return Estimate(_all_steps(run, *steps[run.name]), 'its own steps so far')
        others = [other for other in plan if other.target == run.target]
        if found := [whole[o.name] for o in others if o.name in whole and _is_repeat(o, run)]:
            return Estimate(statistics.mean(found), f'{len(found)} finished with other seeds')
        if found := [_all_steps(run, *steps[o.name]) for o in others if steps.get(o.name)]:
            return Estimate(statistics.mean(found), f'steps of {len(found)} with the same config')
        if run.seconds is None:
            return Estimate()
        scaled = f', times {pace:.2g} as here so far' if paces else ''
        return Estimate(run.seconds * pace, f'as the suite says of one CPU core{scaled}')

    return {run.name: of(run) for run in plan}


def _is_repeat(other: Run, run: Run) -> bool:
    seed = {'randomness.seed': None}
    return {**other.options, **seed} == {**run.options, **seed} and other.gpus == run.gpus


def _steps(log: Path) -> tuple[float, int | None] | None:
    """Seconds of a training step, and steps of an epoch, by what a run has logged."""
    text = tail(log, 200_000)
    times = [float(found) for found in _STEP.findall(text)]
    epochs = _EPOCH.findall(text)
    return (statistics.median(times), int(epochs[-1][2]) if epochs else None) if times else None


def _all_steps(run: Run, seconds: float, steps_of_epoch: int | None) -> float:
    train = run.config().train_cfg
    return seconds * (steps_of_epoch * train.max_epochs if steps_of_epoch else train.max_iters)


def time_left(
    times: dict[str, Estimate], fractions: dict[str, float], jobs: int
) -> tuple[float, int]:
    """Seconds until runs are done, and how many of them are of unknown length and left out.

    ``fractions`` says how far each is, in [0, 1]; ``jobs`` go on at a time.
    """
    open_ = [name for name, fraction in fractions.items() if fraction < 1]
    left = [(1 - fractions[n]) * times[n].seconds for n in open_ if times[n].seconds is not None]
    # At least the longest, which one process does.
    return max(sum(left) / jobs, max(left, default=0.0)), len(open_) - len(left)


def duration(seconds: float) -> str:
    """For people: '12 s', '3.4 min', '5.6 h', '2.1 days'."""
    for size, unit in ((86400, 'days'), (3600, 'h'), (60, 'min')):
        if seconds >= size:
            return f'{seconds / size:.1f} {unit}'
    return f'{seconds:.0f} s'


# ---- while it runs ----------------------------------------------------------------------------


def tail(path: Path, size: int = 20_000) -> str:
    """The last ``size`` bytes of a log as text; '' where it cannot be read."""
    try:
        with open(path, 'rb') as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read().decode(errors='replace')
    except OSError:
        return ''


def fraction_done(log: str, run: Run) -> float:
    """How far a run is, in [0, 1], by its output so far."""
    if run.tool == 'train':
        if found := _EPOCH.findall(log):
            epoch, step, steps = map(int, found[-1])
            return min(1.0, (epoch - 1 + step / steps) / run.config().train_cfg.max_epochs)
        if found := _ITER.findall(log):
            return min(1.0, int(found[-1][0]) / int(found[-1][1]))
        return 0.0
    if run.tool in ('test', 'analysis'):
        second = 'test features' in log or 'held-out features' in log
        return {0: 0.1, 1: 0.2, 2: 0.8}[('training features' in log) + second]
    return 0.0


class Display:
    """Bars with the time left on a terminal, short lines elsewhere.

    Args:
        plan (Iterable[Run]): All runs.
        done (set[str]): The names of those that are done before.
        measure (Callable): Returns :func:`estimates`, which change while runs go on.
        jobs (int): Runs at a time.
        console (Console, optional): Defaults to None: standard output.
    """

    interval = 30.0  # seconds between two measurements, and two lines where there is no terminal

    def __init__(
        self,
        plan: Iterable[Run],
        done: set[str],
        measure: Callable[[], dict[str, Estimate]],
        jobs: int = 1,
        console: Console | None = None,
    ) -> None:
        self.console = console or Console(highlight=False)
        self.fractions = {run.name: 1.0 if run.name in done else 0.0 for run in plan}
        self.measure = measure
        self.jobs = jobs
        self.weigh()
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

    def __enter__(self) -> 'Display':
        self.bars.start()
        return self

    def __exit__(self, *error) -> None:
        self.bars.stop()

    def weigh(self) -> None:
        """Take over what is known by now of how long runs take."""
        self.times = self.measure()
        self.weighed = time.monotonic()

    def share(self) -> float:
        """How much of all runs is done, in [0, 1]."""
        weights = {n: self.times[n].seconds or DEFAULT_SECONDS for n in self.fractions}
        done = sum(weights[name] * fraction for name, fraction in self.fractions.items())
        return done / sum(weights.values())

    def left(self) -> str:
        """The time left, where all that is left is of known length."""
        seconds, unknown = time_left(self.times, self.fractions, self.jobs)
        return '' if unknown or not seconds else f'about {duration(seconds)} left'

    def say(self, text: str) -> None:
        """A line above the bars."""
        self.console.print(text, soft_wrap=True, markup=False)

    def begin(self, run: Run, resumed: bool) -> None:
        """A run starts."""
        if self.console.is_terminal:
            self.tasks[run.name] = self.bars.add_task(run.title, total=1.0, left='')
        else:
            self.say(f'{run.title}: {"resumed" if resumed else "started"}')

    def update(self, run: Run, fraction: float) -> None:
        """A run got further."""
        self.fractions[run.name] = max(fraction, self.fractions[run.name])
        if run.name in self.tasks:
            self.bars.update(self.tasks[run.name], completed=self.fractions[run.name])
        if is_due := time.monotonic() - self.weighed > self.interval:
            self.weigh()
        self.bars.update(self.total, completed=self.share(), left=self.left())
        if is_due and not self.console.is_terminal:
            self.say(', '.join(filter(None, [f'{self.share():.0%} of all runs', self.left()])))

    def end(self, run: Run, text: str) -> None:
        """A run has ended; ``text`` says how."""
        self.weigh()
        self.update(run, 1.0)
        if run.name in self.tasks:
            self.bars.remove_task(self.tasks.pop(run.name))
        self.say(f'{run.title}: {text}')
