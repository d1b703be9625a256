"""What a suite consists of: pre-trained once, evaluated many times, over seeds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from mixae.errors import SuiteError

ROOT = Path(__file__).resolve().parents[2]
SCRATCH = 'scratch'

_SUITE_KEYS = {
    'title',
    'about',
    'seeds',
    'gpus',
    'budget',
    'on_change',
    'prepare',
    'pretrain',
    'evaluate',
    'analyses',
    'pictures',
    'columns',
    'checks',
    'published',
}
_PRETRAIN_KEYS = {'title', 'config', 'teacher', 'options', 'seconds', 'gpus'}
_EVALUATE_KEYS = {
    'title',
    'tool',
    'config',
    'scratch',
    'scratch_title',
    'only',
    'options',
    'seconds',
    'gpus',
}
_ANALYSIS_KEYS = {'title', 'tool', 'of', 'arguments', 'seconds'}


@dataclass(frozen=True)
class Run:
    """One process of a suite.

    Attributes:
        name (str): Of its folder below the work directory: '<row>_seed<n>/<what>'.
        title (str): For people.
        tool (str): 'train' and 'test' (tools/train.py, tools/test.py), or for a tool below
            tools/analysis what it leaves: 'analysis' (run records) or 'picture' (a PNG).
        target (str): The config, or the tool below tools/analysis, from the checkout's root.
        start (str): The run whose checkpoint it starts from, 'scratch', or '' for a pre-training.
        teacher (str): The run whose checkpoint is the teacher, or ''.
        uses (tuple): Further runs whose checkpoints ``arguments`` name.
        options (dict): Overrides of the config, as ``--cfg-options``.
        arguments (tuple): Of a tool below tools/analysis; '{pretrain}' stands for the checkpoint
            that it starts from, '{folder}' for that one's folder, '{RUN}' for the checkpoint of a
            run that it ``uses``, '{out}' for the PNG, '{records}' for the folder of its records.
        gpus (int): Processes of the run, one GPU each.
        budget (str): In words, for the record; '' leaves it out.
        seconds (float, optional): What one core of a CPU needed, where the suite says so.
    """

    name: str
    title: str
    tool: str
    target: str
    start: str = ''
    teacher: str = ''
    uses: tuple[str, ...] = ()
    options: dict = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    gpus: int = 1
    budget: str = ''
    seconds: float | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The runs that must be done before."""
        names = (self.start, self.teacher, *self.uses)
        return tuple(name for name in dict.fromkeys(names) if name not in ('', SCRATCH))

    @property
    def is_analysis(self) -> bool:
        """Whether it is a tool below tools/analysis, with arguments in place of a config."""
        return self.tool in ('analysis', 'picture')

    @property
    def is_pretraining(self) -> bool:
        """Whether its outcome is a checkpoint that others start from."""
        return not self.start

    @property
    def is_evaluation(self) -> bool:
        """Whether its outcome are run records, one but for an analysis."""
        return bool(self.start) and self.tool != 'picture'

    def config(self) -> Config:
        """The config with the overrides, before anything is derived from it."""
        cfg = Config.fromfile(ROOT / self.target)
        cfg.merge_from_dict(dict(self.options))
        return cfg


@dataclass(frozen=True)
class Suite:
    """A suite: its runs, each after those it needs, and what becomes of their results.

    Attributes:
        name (str): Of its file; the default work directory is work_dirs/<name>.
        title (str): For people.
        plan (tuple[Run]): The runs.
        columns (tuple[str]): Of the table, as ``tools/leaderboard.py --columns``.
        published (str): 'none', 'matching' or 'all' published rows beside the measured ones.
        prepare (tuple[str]): Parts of digit scenes that are generated before the first run.
        checks (tuple[str]): Of :mod:`mixae.suite.checks`, said in words at the end.
        on_change (str): What happens to a result whose config has changed since: 'stop' or 'redo'.
    """

    name: str
    title: str
    plan: tuple[Run, ...]
    columns: tuple[str, ...]
    published: str = 'none'
    prepare: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    on_change: str = 'stop'

    def __getitem__(self, name: str) -> Run:
        for run in self.plan:
            if run.name == name:
                return run
        raise SuiteError(
            f'Suite {self.name} has no run {name!r}; its runs: '
            f'{", ".join(run.name for run in self.plan)}.'
        )

    @property
    def evaluations(self) -> list[Run]:
        """The runs that end in a record."""
        return [run for run in self.plan if run.is_evaluation]

    def select(self, names: Sequence[str]) -> list[Run]:
        """The runs of these names, and those that they need, in the plan's order."""
        wanted, waiting = set(), [self[name] for name in names]
        while waiting:
            run = waiting.pop()
            if run.name not in wanted:
                wanted.add(run.name)
                waiting += [self[name] for name in run.needs]
        return [run for run in self.plan if run.name in wanted]


def load_suite(
    path: str | Path, seeds: Sequence[int] | None = None, gpus: int | None = None
) -> Suite:
    """Read a suite's config (``configs/suites``).

    Args:
        path (str | Path): A Python config with ``pretrain`` (rows: their pre-training config,
            ``teacher`` naming another row, overrides as ``options``), ``evaluate`` (columns: tool
            and config; ``scratch`` names the config of the row without pre-training where it is
            another one), ``seeds``, and what :class:`Suite` lists.
        seeds (Sequence[int], optional): In place of the suite's. Defaults to None.
        gpus (int, optional): Processes of every run, in place of the suite's. Defaults to None.

    Raises:
        SuiteError: An unknown or missing entry, a config or tool that does not exist.
        SuiteError: There is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise SuiteError(f'There is no suite {path}.')
    # Names with an underscore are the config's own helpers.
    cfg = {k: v for k, v in Config.fromfile(path).to_dict().items() if not k.startswith('_')}
    for group in ('pretrain', 'evaluate', 'analyses', 'pictures'):
        # None drops what a base has.
        cfg[group] = {k: v for k, v in cfg.get(group, {}).items() if v is not None}
    _check_keys(f'suite {path.stem}', cfg, _SUITE_KEYS, ('columns',))
    if not cfg['evaluate'] and not cfg['analyses']:
        raise SuiteError(f'suite {path.stem}: nothing in `evaluate`.')
    seeds = list(cfg.get('seeds', [0]) if seeds is None else seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise SuiteError(f'suite {path.stem}: seeds={seeds} must be different numbers, at least 1.')
    if cfg.get('on_change', 'stop') not in ('stop', 'redo'):
        raise SuiteError(f"on_change={cfg['on_change']!r} is neither 'stop' nor 'redo'.")
    plan = []
    for seed in seeds:
        plan += _runs_of_seed(cfg, seed, gpus)
        plan += _analyses(cfg, 'analyses', seed)
    plan += _analyses(cfg, 'pictures', seeds[0])
    for run in plan:
        if not (ROOT / run.target).is_file():
            raise SuiteError(f'{run.name}: there is no {run.target}.')
    return Suite(
        name=path.stem,
        title=cfg.get('title', path.stem),
        plan=tuple(plan),
        columns=tuple(cfg['columns']),
        published=cfg.get('published', 'none'),
        prepare=tuple(cfg.get('prepare', ())),
        checks=tuple(cfg.get('checks', ())),
        on_change=cfg.get('on_change', 'stop'),
    )


def _check_keys(place: str, given: Mapping, known: set, required: Sequence[str]) -> None:
    unknown = sorted(set(given) - known)
    missing = [key for key in required if key not in given]
    if unknown:
        raise SuiteError(f'{place}: unknown {unknown}; known are {sorted(known)}.')
    if missing:
        raise SuiteError(f'{place}: {missing} must be given.')


def _runs_of_seed(cfg: dict, seed: int, gpus: int | None) -> Iterator[Run]:
    rows = {}
    for row, entry in cfg['pretrain'].items():
        _check_keys(f'pretrain.{row}', entry, _PRETRAIN_KEYS, ('config',))
        teacher = entry.get('teacher', '')
        if teacher and teacher not in rows:
            raise SuiteError(
                f'pretrain.{row}: its teacher {teacher!r} must be a row before it; '
                f'there are {list(rows)}.'
            )
        rows[row] = entry.get('title', row)
        yield Run(
            f'{row}_seed{seed}/pretrain',
            f'pre-training {rows[row]}, seed {seed}',
            'train',
            entry['config'],
            teacher=f'{teacher}_seed{seed}/pretrain' if teacher else '',
            options={'randomness.seed': seed, **entry.get('options', {})},
            gpus=gpus or entry.get('gpus', cfg.get('gpus', 1)),
            budget=cfg.get('budget', ''),
            seconds=entry.get('seconds'),
        )
    for row in (*rows, SCRATCH):
        for name, entry in cfg['evaluate'].items():
            _check_keys(f'evaluate.{name}', entry, _EVALUATE_KEYS, ('config', 'tool'))
            if entry['tool'] not in ('train', 'test'):
                raise SuiteError(f"evaluate.{name}: tool={entry['tool']!r}; 'train' or 'test'.")
            if row not in entry.get('only', (row,)):
                continue
            title = f'{entry.get("title", name)} of {rows.get(row, "")}'
            if row == SCRATCH:
                title = entry.get('scratch_title', f'{entry.get("title", name)} from scratch')
            yield Run(
                f'{row}_seed{seed}/{name}',
                f'{title}, seed {seed}',
                entry['tool'],
                entry.get('scratch', entry['config']) if row == SCRATCH else entry['config'],
                start=SCRATCH if row == SCRATCH else f'{row}_seed{seed}/pretrain',
                options={'randomness.seed': seed, **entry.get('options', {})},
                gpus=gpus or entry.get('gpus', cfg.get('gpus', 1)),
                budget=cfg.get('budget', ''),
                seconds=entry.get('seconds'),
            )


def _analyses(cfg: dict, group: str, seed: int) -> Iterator[Run]:
    """The runs of tools below tools/analysis: of 'analyses', or of 'pictures'."""
    for name, entry in cfg[group].items():
        _check_keys(f'{group}.{name}', entry, _ANALYSIS_KEYS, ('tool', 'of', 'arguments'))
        of = entry['of']
        if of not in cfg['pretrain']:
            raise SuiteError(f'{group}.{name}: of={of!r} is no row of pretrain.')
        rows = {f'{{{row}}}': f'{row}_seed{seed}/pretrain' for row in cfg['pretrain']}
        named = [rows[argument] for argument in entry['arguments'] if argument in rows]
        given = {key: f'{{{run}}}' for key, run in rows.items()}
        given |= {'{seed}': str(seed), '{budget}': cfg.get('budget', '')}
        title = entry.get('title', name)
        yield Run(
            f'pictures/{name}' if group == 'pictures' else f'{of}_seed{seed}/{name}',
            title if group == 'pictures' else f'{title}, seed {seed}',
            'picture' if group == 'pictures' else 'analysis',
            entry['tool'],
            start=f'{of}_seed{seed}/pretrain',
            uses=tuple(named),
            arguments=tuple(given.get(argument, argument) for argument in entry['arguments']),
            seconds=entry.get('seconds'),
        )
