"""The demo: pre-training, evaluation, table and pictures on digit scenes, on a CPU, in minutes.

Each run is a process of its own, ``tools/train.py`` or ``tools/test.py`` with the arguments that a
person would type. A run is done when its outputs are there *and* came from the same config, seed
and starting checkpoint, so a repeated call finishes at once and a killed one goes on where it was.
"""

import ctypes
import fcntl
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mmengine.config import Config
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from mixae.engine.launch import EXPECTED_ERRORS
from mixae.engine.runner import checkpoints
from mixae.leaderboard.record import (
    SUFFIX,
    RecordError,
    RunRecord,
    config_sha256,
    file_sha256,
    read_record,
    read_records,
)
from mixae.leaderboard.tables import build_table, to_text
from mixae.visualization.curves import curve_rows, final_accuracy

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ('finetune', 'linear', 'knn', 'time', 'images_seen')
MARGIN = 5.0  # points of linear probe over a random encoder from which pre-training pays


class DemoError(RuntimeError):
    """A run of the demo failed; the message names its log."""


@dataclass(frozen=True)
class Run:
    """One process of the demo.

    Attributes:
        name (str): Of its folder below the work directory.
        title (str): For people.
        kind (str): 'pretrain' and 'finetune' (tools/train.py), 'probe' (tools/test.py) or
            'picture' (a tool below tools/analysis).
        target (str): The config, or the tool of a picture.
        start (str): The run whose checkpoint it starts from, 'scratch', or '' for a pre-training.
        teacher (str): The run whose checkpoint is the teacher, or ''.
        options (dict): Overrides of the config, as ``--cfg-options``.
        arguments (tuple): Further arguments of a picture's tool; '{run}' stands for that run's
            checkpoint, '{out}' for the PNG.
        seconds (float): What one core of a laptop needs, roughly; weighs the progress bar.
    """

    name: str
    title: str
    kind: str
    target: str
    start: str = ''
    teacher: str = ''
    options: dict = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    seconds: float = 10.0

    @property
    def needs(self) -> tuple[str, ...]:
        """The runs that must be done before."""
        return tuple(name for name in (self.start, self.teacher) if name not in ('', 'scratch'))


QUICK = {
    'pretrain': {
        'train_cfg.max_epochs': 1,
        'train_dataloader.batch_size': 64,
        'train_dataloader.dataset.subset': 256,
        'default_hooks.logger.interval': 1,
    },
    'finetune': {
        'train_cfg.max_epochs': 1,
        'train_dataloader.dataset.subset': 100,
        'val_dataloader.dataset.subset': 100,
    },
    'probe': {
        'train_features.dataset.subset': 200,
        'test_dataloader.dataset.subset': 100,
    },
}


def make_plan(seed: int = 0, quick: bool = False) -> list[Run]:
    """The runs of the demo, each after those it needs.

    Args:
        seed (int): Of every run. The pictures' data is the same for every seed. Defaults to 0.
        quick (bool): A smoke test of a minute: the numbers mean nothing. Defaults to False.
    """

    def options(kind: str, **more) -> dict:
        return {'randomness.seed': seed, **(QUICK[kind] if quick else {}), **more}

    mae, mixedae = 'configs/mae/vitmini_digits_12e.py', 'configs/mixedae/vitmini_digits_12e.py'
    imae = 'configs/imae/vitmini_digits_6e.py'
    watch = {'default_hooks.topk_accuracy.interval': 1} if quick else {}
    pretrain = partial(Run, kind='pretrain', seconds=350)
    plan = [
        pretrain('pretrain_mae', 'pre-training MAE', target=mae, options=options('pretrain')),
        pretrain(
            'pretrain_mixedae',
            'pre-training MixedAE',
            target=mixedae,
            options=options('pretrain', **watch),
            seconds=370,
        ),
        pretrain(
            'pretrain_imae',
            'pre-training i-MAE',
            target=imae,
            teacher='pretrain_mae',
            options=options('pretrain'),
            seconds=300,
        ),
    ]
    starts = {
        'scratch': 'from scratch',
        'pretrain_mae': 'MAE',
        'pretrain_mixedae': 'MixedAE',
        'pretrain_imae': 'i-MAE',
    }
    transfer = 'configs/transfer/digit_scenes/vitmini_'
    for start, name in starts.items():
        short = start.removeprefix('pretrain_')
        tune = 'scratch' if start == 'scratch' else 'finetune'
        random = 'a random encoder' if start == 'scratch' else name
        plan += [
            Run(
                f'finetune_{short}',
                'training from scratch' if start == 'scratch' else f'fine-tuning {name}',
                'finetune',
                f'{transfer}{tune}.py',
                start,
                options=options('finetune'),
                seconds=100,
            ),
            *(
                Run(
                    f'{kind}_{short}',
                    f'{words} of {random}',
                    'probe',
                    f'{transfer}{kind}.py',
                    start,
                    options=options('probe'),
                    seconds=25,
                )
                for kind, words in (('linear', 'linear probe'), ('knn', 'kNN'))
            ),
        ]
    draw = partial(Run, kind='picture', seconds=10)
    data = ('--split', 'test', '--num-images', '8', '--out', '{out}')
    plan += [
        draw(
            'mae_reconstructions',
            'reconstructions of MAE',
            target='tools/analysis/reconstructions.py',
            start='pretrain_mae',
            arguments=(mae, '{pretrain_mae}', *data),
        ),
        draw(
            'mixedae_reconstructions',
            'mixed input, unmixed reconstructions and originals of MixedAE',
            target='tools/analysis/reconstructions.py',
            start='pretrain_mixedae',
            arguments=(mixedae, '{pretrain_mixedae}', *data),
        ),
        draw(
            'mixedae_topk_accuracy',
            'TopK sampling accuracy of MixedAE beside chance',
            target='tools/analysis/topk_curve.py',
            start='pretrain_mixedae',
            arguments=('{pretrain_mixedae:folder}', '--out', '{out}'),
        ),
        draw(
            'imae_reconstructions',
            'mixtures and reconstructions of both branches of i-MAE',
            target='tools/analysis/imae_pictures.py',
            start='pretrain_imae',
            arguments=(
                *('factors', imae, '{pretrain_imae}', '--data', f'{transfer}linear.py'),
                *('--out', '{out}'),
            ),
        ),
    ]
    return plan


# ---- what is done, and what is not ------------------------------------------------------------


class Folder:
    """The work directory: what of a plan is done, and how a run is started.

    A run's ``run.json`` holds the key it was started with and, once it has ended well, the SHA-256
    of each output. Outputs without it, or with another key, do not count.
    """

    def __init__(self, path: str | Path, plan: Sequence[Run]) -> None:
        self.path = Path(path)
        self.plan = {run.name: run for run in plan}
        self._sha256: dict[tuple, str] = {}

    def __getitem__(self, run: Run) -> Path:
        return self.path / run.name

    def state(self, run: Run) -> dict:
        """The content of ``run.json``; empty where there is none that can be read."""
        try:
            return json.loads((self[run] / 'run.json').read_text())
        except (OSError, json.JSONDecodeError):
            return {}

    def write_state(self, run: Run, **state) -> None:
        """Replace ``run.json`` whole."""
        self[run].mkdir(parents=True, exist_ok=True)
        draft = self[run] / '.run.json.partial'
        draft.write_text(json.dumps(state, indent=2) + '\n')
        draft.replace(self[run] / 'run.json')

    def key(self, run: Run) -> str:
        """What makes two runs the same: config and overrides, or tool, and what they start from."""
        if run.kind == 'picture':
            content = [run.target, list(run.arguments)]
        else:
            cfg = Config.fromfile(ROOT / run.target)
            cfg.merge_from_dict(run.options)
            content = [config_sha256(cfg)]
        content += [run.kind, run.start == 'scratch']
        content += [self.sha256(self.checkpoint(self.plan[name])) for name in run.needs]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def sha256(self, path: Path) -> str:
        """Of a file's content; read again only when the file has changed."""
        stat = path.stat()
        seen = (path, stat.st_mtime_ns, stat.st_size)
        if seen not in self._sha256:
            self._sha256[seen] = file_sha256(path)
        return self._sha256[seen]

    def outputs(self, run: Run) -> list[Path]:
        """What a run leaves: its last checkpoint, its newest record, or its picture."""
        if run.kind == 'picture':
            return [path for path in [self.path / f'{run.name}.png'] if path.exists()]
        if run.kind == 'pretrain':
            return checkpoints(self[run])[-1:]
        return sorted((self[run] / 'records').glob(f'*{SUFFIX}'))[-1:]

    def checkpoint(self, run: Run) -> Path:
        """The checkpoint that a finished pre-training is used by."""
        return self[run] / self.state(run)['outputs'][0]['path']

    def is_done(self, run: Run) -> bool:
        """Whether its outputs are there, whole, and came from this plan."""
        if not all(self.is_done(self.plan[name]) for name in run.needs):
            return False
        state = self.state(run)
        if not state.get('outputs') or state['key'] != self.key(run):
            return False
        for output in state['outputs']:
            path = self[run] / output['path']
            if not path.is_file() or self.sha256(path) != output['sha256']:
                return False
        return True

    def record(self, run: Run) -> Path:
        """The record of a finished evaluation."""
        return self[run] / self.state(run)['outputs'][0]['path']

    def result(self, run: Run) -> str:
        """A finished evaluation's accuracy, for people; '' for other runs."""
        if run.kind in ('pretrain', 'picture'):
            return ''
        return f'{top1(read_record(self.record(run))):.1f} %'

    def begin(self, run: Run) -> tuple[list[str], set[Path]]:
        """Note that a run starts; returns its command and the outputs that are not its own."""
        command = self.command(run)
        if run.kind == 'picture':
            for path in self.outputs(run):
                path.unlink()
        self.write_state(run, key=self.key(run), command=command)
        return command, set(self.outputs(run))

    def command(self, run: Run) -> list[str]:
        """The command of a run that is not done; it resumes what was interrupted."""
        if run.kind == 'picture':
            return [sys.executable, str(ROOT / run.target), *self._fill(run)]
        tool = 'test' if run.kind == 'probe' else 'train'
        command = [sys.executable, str(ROOT / 'tools' / f'{tool}.py'), str(ROOT / run.target)]
        start = (
            run.start
            if run.start in ('', 'scratch')
            else str(self.checkpoint(self.plan[run.start]))
        )
        if run.kind == 'probe':
            command.append(start)
        elif start:
            command += ['--pretrained', start]
        options = dict(run.options)
        if run.teacher:
            options['model.teacher.checkpoint'] = self.checkpoint(self.plan[run.teacher])
        command += ['--work-dir', str(self[run])]
        command += ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]
        saved = checkpoints(self[run]) if run.kind in ('pretrain', 'finetune') else []
        if saved:
            command.append('--resume' if self._can_resume(run, saved[-1]) else '--overwrite')
        return command

    def _can_resume(self, run: Run, newest: Path) -> bool:
        """Whether the newest checkpoint is an earlier state of this very run.

        An evaluation killed between its last checkpoint and its record has nothing to resume.
        """
        if self.state(run).get('key') != self.key(run):
            return False
        cfg = Config.fromfile(ROOT / run.target)
        cfg.merge_from_dict(run.options)
        return run.kind == 'pretrain' or newest.stem != f'epoch_{cfg.train_cfg.max_epochs}'

    def _fill(self, run: Run) -> list[str]:
        names = {'{out}': str(self.path / f'{run.name}.png')}
        for name in run.needs:
            checkpoint = self.checkpoint(self.plan[name])
            names |= {f'{{{name}}}': str(checkpoint), f'{{{name}:folder}}': str(checkpoint.parent)}
        filled = [names.get(argument, argument) for argument in run.arguments]
        return [str(ROOT / a) if a.startswith('configs/') else a for a in filled]

    def finish(self, run: Run, before: set[Path]) -> None:
        """Note the outputs of a run that has ended well.

        Args:
            run (Run): The run.
            before (set[Path]): The records and pictures that were there when it was started.

        Raises:
            DemoError: It left nothing new.
        """
        found = [path for path in self.outputs(run) if run.kind == 'pretrain' or path not in before]
        if not found:
            raise DemoError(f'{run.title} left no result; its output is in {self.log(run)}.')
        outputs = [
            dict(path=os.path.relpath(path, self[run]), sha256=self.sha256(path)) for path in found
        ]
        self.write_state(run, key=self.key(run), outputs=outputs)

    def log(self, run: Run) -> Path:
        """The file with all that a run prints."""
        return self[run] / 'output.log'


# ---- progress ---------------------------------------------------------------------------------

_EPOCH = re.compile(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\]')
_FEATURES = re.compile(r'(training|test) features[^\n]*?(\d+)/(\d+),[^\n]*$', re.MULTILINE)
_MAX_EPOCHS = re.compile(r'max_epochs=(\d+)')


def fraction_done(log: str, max_epochs: int | None) -> float:
    """How far a run is, in [0, 1], by what it has printed.

    Args:
        log (str): Its output so far.
        max_epochs (int, optional): Of training; None for a probe.
    """
    if max_epochs:
        found = _EPOCH.findall(log)
        if not found:
            return 0.0
        epoch, step, steps = map(int, found[-1])
        return min(1.0, (epoch - 1 + step / steps) / max_epochs)
    return {0: 0.1, 1: 0.2, 2: 0.8}[('training features' in log) + ('test features' in log)]


class Display:
    """Bars with the time left on a terminal, short lines elsewhere.

    Args:
        plan (Sequence[Run]): All runs.
        done (set[str]): The names of those that are done before.
        console (Console, optional): Where to. Defaults to None: standard output.
    """

    def __init__(self, plan: Sequence[Run], done: set[str], console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.plan = plan
        self.fractions = {run.name: 1.0 if run.name in done else 0.0 for run in plan}
        self.before = self._sum()
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

    def _sum(self) -> float:
        return sum(run.seconds * self.fractions[run.name] for run in self.plan)

    def left(self) -> str:
        """The time left at the pace so far."""
        now, total = self._sum(), sum(run.seconds for run in self.plan)
        elapsed = time.monotonic() - self.started
        if now - self.before < 0.02 * total or elapsed < 10:
            return ''
        seconds = elapsed * (total - now) / (now - self.before)
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
            self.before += run.seconds * fraction  # an earlier call's work says nothing of the pace
            self.resumed.remove(run.name)
        self.fractions[run.name] = max(fraction, self.fractions[run.name])
        if run.name in self.tasks:
            self.bars.update(self.tasks[run.name], completed=self.fractions[run.name])
        share = self._sum() / sum(r.seconds for r in self.plan)
        self.bars.update(self.total, completed=share, left=self.left())
        if not self.console.is_terminal and time.monotonic() - self.said > 30:
            self.say(', '.join(filter(None, [f'{share:.0%} of all runs', self.left()])))

    def end(self, run: Run, seconds: float, result: str = '') -> None:
        """A run has ended well."""
        self.update(run, 1.0)
        if run.name in self.tasks:
            self.bars.remove_task(self.tasks.pop(run.name))
        self.say(f'{run.title}: {result}{", " if result else ""}{_duration(seconds)}')


def _duration(seconds: float) -> str:
    return f'{seconds / 60:.1f} min' if seconds >= 60 else f'{seconds:.0f} s'


# ---- running ----------------------------------------------------------------------------------


@dataclass
class _Process:
    run: Run
    popen: subprocess.Popen
    log: Path
    before: set[Path]
    max_epochs: int | None
    started: float


def _die_with_parent() -> None:
    """In a child: end when the demo is killed, where the system can do that (Linux)."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        pass


def start_process(folder: Folder, run: Run, threads: int, lock: int) -> _Process:
    """Start a run that is not done; its output goes into its log."""
    command, before = folder.begin(run)
    # Threads that wait by spinning would take the other run's core.
    environ = {**os.environ, 'OMP_NUM_THREADS': str(threads), 'OMP_WAIT_POLICY': 'PASSIVE'}
    environ |= {'PYTHONUNBUFFERED': '1', 'PYTHONWARNINGS': 'ignore'}
    with open(folder.log(run), 'wb') as log:
        log.write(f'$ {shlex.join(command)}\n'.encode())
        log.flush()
        popen = subprocess.Popen(
            command,
            cwd=os.getcwd(),
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the demo, which ends its runs itself
            preexec_fn=_die_with_parent,
            pass_fds=[lock],  # the lock holds as long as a run of the demo lives
        )
    max_epochs = None
    if run.kind in ('pretrain', 'finetune'):
        cfg = Config.fromfile(ROOT / run.target)
        cfg.merge_from_dict(run.options)
        max_epochs = cfg.train_cfg.max_epochs
    return _Process(run, popen, folder.log(run), before, max_epochs, time.monotonic())


def run_plan(
    plan: Sequence[Run],
    folder: Folder,
    jobs: int,
    threads: int,
    display: Display,
    start: Callable[..., _Process] = start_process,
    lock: int = 0,
    pause: float = 0.5,
) -> None:
    """Run what is not done, ``jobs`` at a time, each as soon as what it needs is done.

    Raises:
        DemoError: A run failed. The others are ended; a repeated call resumes them.
    """
    done = {run.name for run in plan if folder.is_done(run)}
    waiting = [run for run in plan if run.name not in done]
    running: list[_Process] = []
    try:
        while waiting or running:
            ready = [run for run in waiting if done.issuperset(run.needs)]
            for run in ready[: jobs - len(running)]:
                waiting.remove(run)
                process = start(folder, run, threads, lock)
                running.append(process)
                display.begin(run, '--resume' in folder.state(run).get('command', ()))
            time.sleep(pause)
            for process in list(running):
                code = process.popen.poll()
                if code is None:
                    log = process.log.read_text(errors='replace')
                    display.update(process.run, fraction_done(log, process.max_epochs))
                    continue
                running.remove(process)
                if code != 0:
                    raise DemoError(describe_failure(process.run, code, process.log))
                folder.finish(process.run, process.before)
                done.add(process.run.name)
                seconds = time.monotonic() - process.started
                display.end(process.run, seconds, folder.result(process.run))
    finally:
        for process in running:
            _stop(process.popen)


def _stop(popen: subprocess.Popen) -> None:
    for number, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        try:
            os.killpg(popen.pid, number)
            popen.wait(patience)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def describe_failure(run: Run, code: int, log: Path) -> str:
    """What failed, why if its last lines tell, and where the whole output is."""
    lines = [line for line in log.read_text(errors='replace').splitlines() if line.strip()]
    told = [line for line in lines[-40:] if re.match(r'error: |\w*(Error|Exception)\b', line)]
    how = f'was ended by signal {-code}' if code < 0 else f'failed (exit status {code})'
    reason = told[-1] if told else (lines[-1] if lines else 'it printed nothing')
    return f'{run.title} {how}: {reason}\nIts whole output: {log}'


# ---- the result -------------------------------------------------------------------------------


def top1(record: RunRecord) -> float:
    """Top-1 accuracy of a record in %."""
    return record['metrics']['accuracy/top1']['value']


def check_pays(folder: Folder, methods: Sequence[str], margin: float = MARGIN) -> list[str]:
    """In words: does each pre-trained linear probe beat the one on a random encoder?

    Args:
        folder (Folder): With all linear probes done.
        methods (Sequence[str]): 'mae', 'mixedae', 'imae'.
        margin (float): Points of accuracy that count as clear. Defaults to :data:`MARGIN`.
    """
    names = {'mae': 'MAE', 'mixedae': 'MixedAE', 'imae': 'i-MAE'}
    base = top1(read_record(folder.record(folder.plan['linear_scratch'])))
    lines = []
    for method in methods:
        value = top1(read_record(folder.record(folder.plan[f'linear_{method}'])))
        gain = value - base
        verdict = 'pays' if gain >= margin else 'does NOT pay'
        lines.append(
            f'Pre-training {verdict}: the linear probe of {names[method]} is at {value:.1f} %, on '
            f'a random encoder at {base:.1f} % ({gain:+.1f} points; clear from {margin:g}).'
        )
    return lines


def check_topk(rows: Sequence[dict]) -> str:
    """In words: is MixedAE's TopK sampling accuracy above chance at the end of pre-training?"""
    accuracy = final_accuracy(rows)
    mean, chance = sum(accuracy.values()) / len(accuracy), rows[-1]['chance']
    verdict = 'isolates' if mean > chance else 'does NOT isolate'
    return (
        f'Homologous attention {verdict} the images of a mixture: TopK sampling accuracy '
        f'{100 * mean:.1f} % (layers {100 * min(accuracy.values()):.1f} to '
        f'{100 * max(accuracy.values()):.1f} %), chance {100 * chance:.1f} %.'
    )


def summarise(folder: Folder, plan: Sequence[Run], console: Console, quick: bool) -> None:
    """Print the table, the checks in words, and the paths of table and pictures."""
    evaluations = [run for run in plan if run.kind in ('finetune', 'probe')]
    table = build_table(read_records([folder.record(run) for run in evaluations]), columns=COLUMNS)
    text = to_text(table, width=console.width)
    (folder.path / 'table.txt').write_text(to_text(table, width=120))
    console.print()
    console.out(text, highlight=False)
    if quick:
        console.print('This was --quick, a smoke test: the numbers say nothing about the methods.')
    else:
        for line in check_pays(folder, ('mae', 'mixedae', 'imae')):
            console.print(line, markup=False)
        mixedae = folder.checkpoint(folder.plan['pretrain_mixedae']).parent
        console.print(check_topk(curve_rows(mixedae)), markup=False)
    console.print('\nThe table and the pictures:')
    console.print(f'  {folder.path / "table.txt"}', soft_wrap=True, markup=False)
    for run in plan:
        if run.kind == 'picture':
            path = folder[run] / folder.state(run)['outputs'][0]['path']
            path = Path(os.path.normpath(path))
            console.print(f'  {path}: {run.title}', soft_wrap=True, markup=False)


def parallelism(cores: int) -> tuple[int, int]:
    """Runs at a time and threads a run. Small models gain little from a second thread."""
    jobs = max(1, min(4, cores))
    return jobs, max(1, cores // jobs)


def demo(
    work_dir: str | Path = 'work_dirs/demo',
    seed: int = 0,
    quick: bool = False,
    console: Console | None = None,
) -> Folder:
    """Run the demo, or what of it is missing, and print its result.

    Args:
        work_dir (str | Path): Where everything goes. Defaults to 'work_dirs/demo'.
        seed (int): Of every run. Defaults to 0.
        quick (bool): See :func:`make_plan`. Defaults to False.
        console (Console, optional): Where to print. Defaults to None: standard output.

    Returns:
        Folder: The work directory, all runs done.

    Raises:
        DemoError: A run failed, or another demo is at work in the same directory.
    """
    started = time.monotonic()
    console = console or Console(highlight=False)
    plan = make_plan(seed, quick)
    folder = Folder(work_dir, plan)
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder.path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f'Another demo, or a run that one left behind, is at work in {work_dir}: wait for '
                'it, or name another folder with --work-dir.'
            ) from None
        done = {run.name for run in plan if folder.is_done(run)}
        if len(done) < len(plan):
            from mixae.datasets.digit_scenes import prepare
            from mixae.datasets.digit_scenes.build import find_root

            cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 2
            jobs, threads = parallelism(cores)
            console.print(
                f'{len(plan) - len(done)} of {len(plan)} runs to do, {jobs} at a time; '
                f'everything goes to {folder.path}',
                soft_wrap=True,
                markup=False,
            )
            # Made once, before two runs wait for each other over it.
            prepare('classification', find_root(''))
            with Display(plan, done, console) as display:
                run_plan(plan, folder, jobs, threads, display, lock=lock)
        summarise(folder, plan, console, quick)
        console.print(f'\nDone in {_duration(time.monotonic() - started)}.')
    finally:
        os.close(lock)
    return folder


def main(demo_arguments: dict) -> int:
    """:func:`demo` for a terminal: what can go wrong ends in a line and an exit status."""

    def end(number, frame):
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    try:
        demo(**demo_arguments)
    except (DemoError, RecordError, *EXPECTED_ERRORS) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('interrupted; the same command goes on where it was', file=sys.stderr)
        return 130
    return 0
