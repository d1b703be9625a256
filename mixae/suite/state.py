"""A suite's work directory: what is done, what has changed since, and who is at work on it."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from mixae.derive.values import leaf_text, leaves
from mixae.engine.work_dir import checkpoints, set_aside
from mixae.errors import BusyError, OutputError, SuiteError
from mixae.files import LOCK, file_sha256, lock_folder, write_whole
from mixae.results.record import SUFFIX, read_record
from mixae.suite.plan import FILE, SCRATCH, Run, Suite


class Folder:
    """The work directory of a suite.

    A run's ``run.json`` holds the key it was started with and, once it has ended well, the SHA-256
    of each output, with paths relative to the run's folder. Outputs without it, or with another
    key, do not count.

    Args:
        path (str | Path): The directory; it need not exist.
        suite (Suite): The suite.
    """

    def __init__(self, path: str | Path, suite: Suite) -> None:
        self.path = Path(path)
        self.suite = suite
        self._sha256: dict[tuple, str] = {}

    def __getitem__(self, run: Run) -> Path:
        return self.path / run.name

    def log(self, run: Run) -> Path:
        """The file with the command of a run and all that it prints."""
        return self[run] / 'output.log'

    def options(self, run: Run) -> Path:
        """The file with the overrides of its config, for ``--options-file``."""
        return self[run] / 'options.json'

    # ---- what is done -------------------------------------------------------------------------

    def state(self, run: Run) -> dict:
        """The content of ``run.json``; empty where there is none that can be read."""
        try:
            state = json.loads((self[run] / 'run.json').read_text())
            dict(state.get('settings', {})), float(state.get('seconds', 0))
            {self[run] / output['path']: output['sha256'] for output in state.get('outputs', ())}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}
        return state

    def write_state(self, run: Run, **state) -> None:
        """Replace ``run.json`` whole."""
        write_whole(self[run] / 'run.json', json.dumps(state, indent=2) + '\n')

    def settings(self, run: Run) -> dict[str, str]:
        """What decides a run's result, by name: settings of the config or arguments of the tool."""
        given = run.start == SCRATCH or run.start.startswith(FILE)
        settings = {'start': run.start if given else 'pretrain'}
        if run.is_analysis:
            settings |= {'tool': run.target, 'arguments': ' '.join(run.arguments)}
        for name, config in run.configs.items():
            settings |= _flat(config.to_dict(), name)
        if run.gpus > 1 and run.tool == 'train':
            settings['processes'] = str(run.gpus)
        return settings

    def key(self, run: Run) -> str:
        """What makes two runs the same: config and overrides, or tool, and what they start from.

        The runs that it needs must be done.
        """
        content = [run.target, list(run.arguments)] if run.is_analysis else []
        content += [*run.digests, run.tool, run.start == SCRATCH]
        content += [run.epoch] if run.epoch else []
        # The effective batch and its learning rate follow from the processes.
        content += [f'{run.gpus} processes'] if run.gpus > 1 and run.tool == 'train' else []
        if run.start.startswith(FILE):
            path = Path(self.start(run))
            content += [run.start, self.sha256(path) if path.is_file() else None]
        content += [self.sha256(self.output(self.suite[name])) for name in run.needs]
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

    def checkpoint(self, name: str) -> str:
        """The checkpoint that a run has left; '<name>' before it is done."""
        run = self.suite[name]
        return str(self.output(run)) if self.state(run).get('outputs') else f'<{name}>'

    def start(self, run: Run) -> str:
        """The checkpoint that a run starts from, 'scratch' or ''; '<name>' before it is there."""
        if run.start in ('', SCRATCH):
            return run.start
        if run.start.startswith(FILE):
            return run.start.removeprefix(FILE)
        last = self.checkpoint(run.start)
        if not run.epoch or last.startswith('<'):
            return last
        return str(Path(last).with_name(f'epoch_{run.epoch}.pth'))

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

    def can_resume(self, run: Run) -> bool:
        """Whether its newest checkpoint is an earlier state of this very run.

        An evaluation killed between its last checkpoint and its record has nothing to resume.
        """
        saved = checkpoints(self[run]) if run.tool == 'train' else []
        if not saved or not all(self.is_done(self.suite[name]) for name in run.needs):
            return False
        if self.state(run).get('key') != self.key(run):
            return False
        train = run.config().train_cfg
        last = train.get('max_epochs') or train.get('max_iters')
        return run.is_pretraining or saved[-1].stem.split('_')[-1] != str(last)

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

    # ---- how it gets there --------------------------------------------------------------------

    def is_running(self, run: Run) -> bool:
        """Whether a process is at work on it."""
        try:
            if (self[run] / LOCK).is_file():
                lock_folder(self[run]).close()
        except BusyError:
            return True
        except OutputError:
            return False  # where nobody can be at work
        return False

    def begin(self, run: Run) -> None:
        """Note that a run starts, and write its overrides.

        What an earlier run has left goes before: a kill in between must not make it this run's.
        """
        resumed = self.can_resume(run)
        if run.tool == 'train' and not resumed and checkpoints(self[run]):
            set_aside(self[run])
        for path in [] if run.is_pretraining else self.outputs(run):
            if run.tool == 'picture':
                path.unlink()
            else:
                path.rename(f'{path}.replaced')  # a leaderboard would read two for one cell
        if not run.is_analysis:
            options = dict(run.options)
            if run.teacher:
                options['model.teacher.checkpoint'] = self.checkpoint(run.teacher)
            write_whole(self.options(run), json.dumps(options, indent=2) + '\n')
        self.write_state(run, key=self.key(run), settings=self.settings(run), resumed=resumed)

    def finish(self, run: Run, seconds: float) -> None:
        """Note the outputs of a run that has ended well, after ``seconds``.

        Raises:
            SuiteError: It left none.
            RecordError: It left a record that cannot be trusted.
        """
        # All records of an analysis; of what leaves one, the newest.
        found = self.outputs(run) if run.tool == 'analysis' else self.outputs(run)[-1:]
        if not found:
            raise SuiteError('it left no result')
        for path in found if run.is_evaluation else ():
            read_record(path)
        outputs = [
            dict(path=os.path.relpath(path, self[run]), sha256=self.sha256(path)) for path in found
        ]
        self.write_state(run, **self.state(run), outputs=outputs, seconds=round(seconds, 1))

    def fail(self, run: Run, reason: str) -> None:
        """Note that a run has failed."""
        self.write_state(run, **self.state(run), failed=reason)


def _flat(value, name: str = '') -> Iterator[tuple[str, str]]:
    """The leaves of a nested config by their dotted names, as text."""
    return ((path, leaf_text(leaf)) for path, leaf in leaves(value, name))


def _short(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f'{text[: length - 3]}...'
