"""A suite's work directory: what is done, what has changed since, and how a run is started."""

import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config

from mixae.engine.work_dir import checkpoints, set_aside
from mixae.errors import SuiteError
from mixae.files import file_sha256, write_whole
from mixae.results.record import SUFFIX, RunRecord, config_sha256, read_record
from mixae.suite.plan import ROOT, SCRATCH, Run, Suite

LOCK = '.lock'
LAUNCHERS = ('local', 'slurm')


class Folder:
    """The work directory of a suite.

    A run's ``run.json`` holds the key it was started with and, once it has ended well, the SHA-256
    of each output. Outputs without it, or with another key, do not count.

    Args:
        path (str | Path): The directory; it need not exist.
        suite (Suite): The suite.
    """

    def __init__(self, path: str | Path, suite: Suite) -> None:
        self.path = Path(path)
        self.suite = suite
        self._sha256: dict[tuple, str] = {}
        self._configs: dict[str, Config] = {}

    def __getitem__(self, run: Run) -> Path:
        return self.path / run.name

    # ---- what is done -------------------------------------------------------------------------

    def state(self, run: Run) -> dict:
        """The content of ``run.json``; empty where there is none that can be read."""
        try:
            return json.loads((self[run] / 'run.json').read_text())
        except (OSError, json.JSONDecodeError):
            return {}

    def write_state(self, run: Run, **state) -> None:
        """Replace ``run.json`` whole."""
        write_whole(self[run] / 'run.json', json.dumps(state, indent=2) + '\n')

    def settings(self, run: Run) -> dict[str, str]:
        """What decides a run's result, by name: settings of the config or arguments of the tool."""
        if run.is_analysis:
            settings = {'tool': run.target, 'arguments': ' '.join(run.arguments)}
            for name, config in self.named_configs(run).items():
                settings |= _flat(config.to_dict(), name)
        else:
            settings = dict(_flat(self.config(run).to_dict()))
        return settings | {'start': SCRATCH if run.start == SCRATCH else 'pretrain'}

    def config(self, run: Run) -> Config:
        """A run's config with its overrides; read once."""
        if run.name not in self._configs:
            self._configs[run.name] = run.config()
        return self._configs[run.name]

    def named_configs(self, run: Run) -> dict[str, Config]:
        """The configs that an analysis names in its arguments, by those; each read once."""
        for name in run.arguments:
            if name.startswith('configs/') and name not in self._configs:
                self._configs[name] = Config.fromfile(ROOT / name)
        return {name: self._configs[name] for name in run.arguments if name in self._configs}

    def key(self, run: Run) -> str:
        """What makes two runs the same: config and overrides, or tool, and what they start from.

        The runs that it needs must be done.
        """
        if run.is_analysis:
            content = [run.target, list(run.arguments)]
            content += [config_sha256(config) for config in self.named_configs(run).values()]
        else:
            content = [config_sha256(self.config(run))]
        content += [run.tool, run.start == SCRATCH]
        content += [self.sha256(self.checkpoint(self.suite[name])) for name in run.needs]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def sha256(self, path: Path) -> str:
        """Of a file's content; read again only when the file has changed."""
        stat = path.stat()
        seen = (path, stat.st_mtime_ns, stat.st_size)
        if seen not in self._sha256:
            self._sha256[seen] = file_sha256(path)
        return self._sha256[seen]

    def outputs(self, run: Run) -> list[Path]:
        """What a run has left: its last checkpoint, all its records, or its picture."""
        if run.tool == 'picture':
            return [path for path in [self.path / f'{run.name}.png'] if path.exists()]
        if run.is_pretraining:
            return checkpoints(self[run])[-1:]
        return sorted((self[run] / 'records').glob(f'*{SUFFIX}'))

    def results(self, run: Run) -> list[Path]:
        """The checkpoint, records or picture of a finished run; several only of an analysis."""
        outputs = self.state(run)['outputs']
        return [Path(os.path.normpath(self[run] / output['path'])) for output in outputs]

    def output(self, run: Run) -> Path:
        """The first of its results, for most runs the only one."""
        return self.results(run)[0]

    checkpoint = output

    def record(self, run: Run) -> RunRecord:
        """The record of a finished evaluation."""
        return read_record(self.output(run))

    def is_whole(self, run: Run) -> bool:
        """Whether its outputs are there, as they were when it ended."""
        outputs = self.state(run).get('outputs') or ()
        return bool(outputs) and all(
            (self[run] / output['path']).is_file()
            and self.sha256(self[run] / output['path']) == output['sha256']
            for output in outputs
        )

    def is_done(self, run: Run) -> bool:
        """Whether its outputs are there, whole, and came from this suite."""
        return (
            all(self.is_done(self.suite[name]) for name in run.needs)
            and self.is_whole(run)
            and self.state(run).get('key') == self.key(run)
        )

    def status(self, run: Run) -> str:
        """'done', 'running', 'changed' (other settings), 'failed', 'interrupted' or 'new'."""
        if self.is_done(run):
            return 'done'
        if self.is_running(run):
            return 'running'
        if self.changes(run):
            return 'changed'
        state = self.state(run)
        if 'failed' in state:
            return 'failed'
        return 'interrupted' if state and 'outputs' not in state else 'new'

    def is_running(self, run: Run) -> bool:
        """Whether a process is at work on it."""
        if not (self[run] / LOCK).is_file():
            return False
        try:
            os.close(self.lock(run))
        except SuiteError:
            return True
        return False

    def changes(self, run: Run) -> list[str]:
        """How the settings differ from those that a finished run's result came from, in words."""
        state = self.state(run)
        if not state.get('outputs') or 'settings' not in state:
            return []
        old, new = state['settings'], self.settings(run)
        lines = []
        for name in sorted(old.keys() | new.keys()):
            before, now = (settings.get(name, 'not set') for settings in (old, new))
            if before != now:
                lines.append(f'{name}: {_short(before)} -> {_short(now)}')
        return lines

    # ---- how it is run ------------------------------------------------------------------------

    def lock(self, run: Run, patience: float = 0.0) -> int:
        """A descriptor that keeps others from a run for as long as it, or a copy, is open.

        Args:
            run (Run): The run.
            patience (float): Seconds to try for; who only looks holds a lock for an instant.

        Raises:
            SuiteError: Another process has it.
        """
        self[run].mkdir(parents=True, exist_ok=True)
        # Open for writing, without which NFS gives no lock.
        descriptor = os.open(self[run] / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() < until:
                    time.sleep(0.1)
                    continue
                os.close(descriptor)
                raise SuiteError(
                    f'Another process is at work on {self[run]}: wait for it, or name another '
                    'folder with --work-dir.'
                ) from None
            except OSError as error:
                os.close(descriptor)
                raise SuiteError(
                    f'{self[run]} cannot be locked ({error}): name a folder on a file system that '
                    'has locks with --work-dir.'
                ) from None

    def begin(self, run: Run, launcher: str = 'local') -> tuple[list[str], set[Path]]:
        """Note that a run starts; returns its command and the outputs that are not its own."""
        command = self.command(run, launcher)
        # What an earlier run has left goes before the new key is noted: a kill in between must not
        # make it this run's.
        if '--overwrite' in command:
            set_aside(self[run])
            command.remove('--overwrite')
        for path in [] if run.is_pretraining else self.outputs(run):
            if run.tool == 'picture':
                path.unlink()
            else:
                path.rename(f'{path}.replaced')  # a leaderboard would read two for one cell
        self.write_state(
            run,
            key=self.key(run),
            command=_plain_command(command),
            settings=self.settings(run),
            resumed='--resume' in command,
        )
        return command, set(self.outputs(run))

    def finish(self, run: Run, before: set[Path], seconds: float) -> None:
        """Note the outputs of a run that has ended well.

        Args:
            run (Run): The run.
            before (set[Path]): The records and pictures that were there when it was started.
            seconds (float): How long it took.

        Raises:
            SuiteError: It left nothing new.
        """
        found = [path for path in self.outputs(run) if run.is_pretraining or path not in before]
        if not found:
            raise SuiteError(f'{run.title} left no result; its output is in {self.log(run)}.')
        # All records of an analysis; of what leaves one, the newest.
        outputs = [
            dict(path=os.path.relpath(path, self[run]), sha256=self.sha256(path))
            for path in (found if run.tool == 'analysis' else found[-1:])
        ]
        self.write_state(run, **self.state(run), outputs=outputs, seconds=round(seconds, 1))

    def fail(self, run: Run, reason: str) -> None:
        """Note that a run has failed."""
        self.write_state(run, **self.state(run), failed=reason)

    def log(self, run: Run) -> Path:
        """The file with all that a run prints."""
        return self[run] / 'output.log'

    def command(self, run: Run, launcher: str = 'local') -> list[str]:
        """The command of a run that is not done; it resumes what was interrupted.

        Args:
            run (Run): The run. A checkpoint of a run that is not done is written as '<name>'.
            launcher (str): 'local': a process, or ``tools/dist_train.sh`` for several. 'slurm':
                ``srun`` within an allocation.
        """
        if run.is_analysis:
            return [sys.executable, str(ROOT / run.target), *self._fill(run)]
        positional = [str(ROOT / run.target)]
        start = run.start if run.start in ('', SCRATCH) else self._checkpoint(run.start)
        if run.tool == 'test':
            positional.append(start)
        command = self._launch(run, positional, launcher)
        if run.tool == 'train' and start:
            command += ['--pretrained', start]
        options = dict(run.options)
        if run.teacher:
            options['model.teacher.checkpoint'] = self._checkpoint(run.teacher)
        command += ['--work-dir', str(self[run])]
        if run.budget and run.is_evaluation:
            command += ['--budget', run.budget]
        command += ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]
        saved = checkpoints(self[run]) if run.tool == 'train' else []
        if saved:
            command.append('--resume' if self._can_resume(run, saved[-1]) else '--overwrite')
        return command

    def _launch(self, run: Run, positional: list[str], launcher: str) -> list[str]:
        tool = str(ROOT / 'tools' / f'{run.tool}.py')
        if launcher == 'slurm':
            tasks = min(run.gpus, int(os.environ.get('GPUS_PER_NODE', 8)))
            srun = ['srun', f'--ntasks={run.gpus}', f'--ntasks-per-node={tasks}']
            return [*srun, sys.executable, '-u', tool, *positional, '--launcher=slurm']
        if run.gpus > 1:
            script = str(ROOT / 'tools' / f'dist_{run.tool}.sh')
            return ['bash', script, *positional, str(run.gpus)]
        return [sys.executable, tool, *positional]

    def _checkpoint(self, name: str) -> str:
        run = self.suite[name]
        return str(self.output(run)) if self.state(run).get('outputs') else f'<{name}>'

    def _can_resume(self, run: Run, newest: Path) -> bool:
        """Whether the newest checkpoint is an earlier state of this very run.

        An evaluation killed between its last checkpoint and its record has nothing to resume.
        """
        if not all(self.is_done(self.suite[name]) for name in run.needs):
            return False
        if self.state(run).get('key') != self.key(run):
            return False
        train = self.config(run).train_cfg
        last = train.get('max_epochs') or train.get('max_iters')
        return run.is_pretraining or newest.stem.split('_')[-1] != str(last)

    def _fill(self, run: Run) -> list[str]:
        checkpoint = self._checkpoint(run.start)
        names = {
            '{out}': str(self.path / f'{run.name}.png'),
            '{pretrain}': checkpoint,
            '{folder}': str(self[self.suite[run.start]]),
            '{records}': str(self[run] / 'records'),
            **{f'{{{name}}}': self._checkpoint(name) for name in run.uses},
        }
        filled = [names.get(argument, argument) for argument in run.arguments]
        return [str(ROOT / a) if a.startswith('configs/') else a for a in filled]


def _flat(value, name: str = '') -> Iterator[tuple[str, str]]:
    """The leaves of a nested config by their dotted names."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f'{name}.{key}' if name else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for index, item in enumerate(value):
            yield from _flat(item, f'{name}[{index}]')
    else:
        kind = value if isinstance(value, type) or callable(value) else None
        yield name, kind.__qualname__ if kind else repr(value)


def _short(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f'{text[: length - 3]}...'


def _plain_command(command: Sequence[str]) -> list[str]:
    """With paths from here, for people who read ``run.json``."""
    here = f'{os.getcwd()}{os.sep}'
    return [word.removeprefix(here) for word in command]
