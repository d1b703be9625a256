"""What a suite consists of: pre-trained once, evaluated many times, over seeds."""

import copy
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from mmengine.config import Config

from mixae.datasets.digit_scenes.build import DEFAULTS
from mixae.derive import derive
from mixae.derive.checks import nearest
from mixae.derive.config import drop_own_scope
from mixae.derive.values import in_words
from mixae.engine.options import merge_values
from mixae.errors import ConfigError, SuiteError
from mixae.files import ROOT, find_config
from mixae.results.names import METHODS
from mixae.results.record import config_sha256
from mixae.results.table import parse_columns
from mixae.results.write import PUBLISHED

_MOST = 4096  # processes
SCRATCH = 'scratch'
FILE = 'file:'

# What a protocol says of the encoder, whichever it is.
PROTOCOL = ('out_type', 'out_indices', 'final_norm', 'norm_outputs', 'img_size', 'drop_path_rate')
PROTOCOL += ('frozen', 'with_cp', 'pretrained')

# What may stand in a suite and in its groups, and what must.
_LIST, _NUMBER = (list, tuple), (int, float)
_SUITE = dict(title=str, seeds=_LIST, gpus=int, budget=str, on_change=str, prepare=_LIST)
_SUITE |= dict(columns=_LIST, curves=_LIST, checks=dict, published=str)
_RUN = dict(title=str, config=str, options=dict, seconds=_NUMBER, gpus=int)
_ANALYSIS = dict(title=str, tool=str, of=str, arguments=_LIST, seconds=_NUMBER)
_BAR = dict(gain=_NUMBER, least=_NUMBER)
_GROUPS = {
    'encoders': (
        dict(title=str, model=str, checkpoint=str, part=str, model_args=dict, card=dict),
        (),
    ),
    'pretrain': (dict(**_RUN, teacher=str, seeds=_LIST), ('config',)),
    'evaluate': (
        dict(**_RUN, tool=str, scratch=str, scratch_title=str, only=_LIST, also_at=_LIST),
        ('config', 'tool'),
    ),
    'analyses': (_ANALYSIS, ('tool', 'of', 'arguments')),
    'pictures': (_ANALYSIS, ('tool', 'of', 'arguments')),
}


@dataclass(frozen=True)
class Run:
    """One process of a suite.

    Attributes:
        name (str): Of its folder below the work directory: '<row>_seed<n>/<what>'.
        title (str): For people.
        tool (str): 'train' and 'test' (tools/train.py, tools/test.py), or for a tool below
            tools/analysis what it leaves: 'analysis' (run records) or 'picture' (a PNG).
        target (str): The config, or the tool below tools/analysis, from the checkout's root.
        start (str): The run whose checkpoint it starts from, 'scratch', 'file:PATH' for a
            checkpoint of others, or '' for a pre-training.
        epoch (int): Of the checkpoint that it starts from; 0 for the last.
        teacher (str): The run whose checkpoint is the teacher, or ''.
        uses (tuple): Further runs whose checkpoints ``arguments`` name.
        options (dict): Overrides of the config, values of JSON by dotted keys.
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
    epoch: int = 0
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
        return tuple(
            name
            for name in dict.fromkeys(names)
            if name not in ('', SCRATCH) and not name.startswith(FILE)
        )

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

    @cached_property
    def configs(self) -> dict[str, Config]:
        """What it computes: its config with the overrides, as ''; of an analysis those it names.

        Nothing is derived from them yet.

        Raises:
            SuiteError: A config that cannot be read, or has no place for an override.
        """
        if self.is_analysis:
            names = [name for name in self.arguments if name.startswith('configs/')]
            return {name: copy.deepcopy(_read_once(ROOT / name)) for name in names}
        config = copy.deepcopy(_read_once(ROOT / self.target))
        try:
            merge_values(config, self.options)
        except ConfigError as error:
            raise SuiteError(f'{self.name}: options do not fit {self.target}: {error}') from error
        return {'': config}

    @cached_property
    def digests(self) -> list[str]:
        """The hashes of its configs."""
        return [config_sha256(config) for config in self.configs.values()]

    def config(self) -> Config:
        """The config of training or of a test, with the overrides."""
        return self.configs['']

    def check(self) -> None:
        """Find what can be known to fail before its turn comes.

        Raises:
            SuiteError: As :attr:`configs`, or a config that cannot be run.
        """
        if self.is_analysis:
            _ = self.configs
            return
        config = copy.deepcopy(self.config())
        # Checkpoints that are not there yet.
        if 'pretrained' in config:
            config.pretrained = SCRATCH
        if self.teacher:
            config.model.teacher.checkpoint = self.teacher
        try:
            derive(config, self.gpus)
        except ConfigError as error:
            raise SuiteError(f'{self.name}: {error}') from error


@dataclass(frozen=True)
class Suite:
    """A suite: its runs, each after those it needs, and what becomes of their results.

    Attributes:
        name (str): Of its file; the default work directory is work_dirs/<name>.
        title (str): For people.
        plan (tuple[Run]): The runs.
        columns (tuple[str]): Of the table, as ``tools/leaderboard.py --columns``.
        curves (tuple[str]): Columns that are drawn over the cost of pre-training as well.
        published (str): 'none', 'matching' or 'all' published rows beside the measured ones.
        prepare (tuple[str]): Parts of digit scenes that are generated before the first run.
        checks (dict): Of :mod:`mixae.suite.checks`, with their options; said in words at the end.
        on_change (str): What happens to a result whose config has changed since: 'stop' or 'redo'.
    """

    name: str
    title: str
    plan: tuple[Run, ...]
    columns: tuple[str, ...]
    curves: tuple[str, ...] = ()
    published: str = 'none'
    prepare: tuple[str, ...] = ()
    checks: Mapping[str, dict] = field(default_factory=dict)
    on_change: str = 'stop'

    def __getitem__(self, name: str) -> Run:
        for run in self.plan:
            if run.name == name:
                return run
        near = nearest(name, [run.name for run in self.plan])
        raise SuiteError(
            f'Suite {self.name} has no run {name!r}{near} --dry-run lists all {len(self.plan)}.'
        )

    @property
    def evaluations(self) -> list[Run]:
        """The runs that end in a record."""
        return [run for run in self.plan if run.is_evaluation]

    def select(self, names: Sequence[str]) -> list[Run]:
        """The runs of these names, and those that they need, in the plan's order."""
        wanted = {self[name].name for name in names}
        for run in reversed(self.plan):
            wanted.update(run.needs if run.name in wanted else ())
        return [run for run in self.plan if run.name in wanted]


def check_name(place: str, name: str) -> None:
    """A name can be that of a folder.

    Raises:
        SuiteError: Begins with the place that it is from.
    """
    if not re.fullmatch(r'\w[\w.+=-]{,99}', name) or name in (SCRATCH, 'pretrain'):
        raise SuiteError(
            f'{place}: a folder is called so. Use up to 100 letters, digits and . _ + = -, '
            f"and not {SCRATCH!r} or 'pretrain', which have a meaning."
        )


def load_suite(
    path: str | Path, seeds: Sequence[int] | None = None, gpus: int | None = None
) -> Suite:
    """Read a suite's config (``configs/suites``).

    Args:
        path (str | Path): A Python config with ``pretrain`` (rows: their pre-training config,
            ``teacher`` naming another row, overrides as ``options``, ``seeds`` where it has fewer),
            ``evaluate`` (columns: tool and config; ``scratch`` names the config of the row without
            pre-training where it is another one), ``seeds``, and what :class:`Suite` lists.
        seeds (Sequence[int], optional): In place of the suite's. Defaults to None.
        gpus (int, optional): Processes of every run, in place of the suite's. Defaults to None.

    Raises:
        SuiteError: No such file, no suite, an unknown or missing entry, a value of a wrong type or
            out of range, a config or tool that does not exist.
        TableError: An unknown column.
    """
    cfg = _read_suite(find_config(path))
    name = Path(path).stem
    seeds = list(cfg['seeds'] if seeds is None else seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise SuiteError(f'suite {name}: seeds={seeds} must be different numbers, at least 1.')
    for seed in seeds:
        check_whole('seeds', seed, least=0)
    if gpus is not None:
        check_whole('gpus', gpus)
    plan = []
    for seed in seeds:
        plan += _runs_of_seed(cfg, seed, gpus)
        plan += _analyses(cfg, 'analyses', seed)
    plan += _analyses(cfg, 'pictures', seeds[0])
    for run in plan:
        for file in (run.target, *(a for a in run.arguments if a.startswith('configs/'))):
            if not (ROOT / file).is_file():
                raise SuiteError(f'{run.name}: there is no {file}.')
    lists = {key: tuple(cfg[key]) for key in ('columns', 'curves', 'prepare')}
    texts = {key: cfg[key] for key in ('title', 'published', 'on_change', 'checks')}
    return Suite(name, plan=tuple(plan), **texts, **lists)


def _read_suite(path: Path) -> dict:
    """The entries of a suite's file, each of its type, with defaults for those not given."""
    if not path.is_file():
        if path.parts[:1] == ('configs',) and (ROOT / path).is_file():
            name = path.relative_to('configs').as_posix()
            raise SuiteError(f'There is no suite {path} here. Write mixae::{name}.')
        there = [str(p.relative_to(ROOT)) for p in (ROOT / 'configs/suites').rglob('*.py')]
        raise SuiteError(f'There is no suite {path}{nearest(str(path), there)}')
    # Names with an underscore are the config's own helpers.
    given = {k: v for k, v in read_config(path).to_dict().items() if not k.startswith('_')}
    if 'model' in given:
        raise SuiteError(
            f'{path} is the config of one run, for tools/train.py or tools/test.py. A suite has '
            'pretrain, evaluate and columns (docs/suites.md).'
        )
    _check(f'suite {path.stem}', given, _SUITE | dict.fromkeys(_GROUPS, dict), ('columns',))
    cfg = dict(title=path.stem, seeds=[0], gpus=1, budget='', prepare=(), curves=(), checks={})
    cfg |= dict(on_change='stop', published='none') | given
    for group in _GROUPS:
        # None drops what a base has.
        cfg[group] = {k: v for k, v in cfg.get(group, {}).items() if v is not None}
        for name, entry in cfg[group].items():
            _check(f'{group}.{name}', entry, *_GROUPS[group])
            check_name(f'{group}.{name}', name)
    if not cfg['evaluate'] and not cfg['analyses']:
        raise SuiteError(f'suite {path.stem}: nothing in `evaluate`.')
    for name, known in (('on_change', ('stop', 'redo')), ('published', PUBLISHED)):
        if cfg[name] not in known:
            raise SuiteError(f'{name}={cfg[name]!r} is neither {" nor ".join(map(repr, known))}.')
    if unknown := set(cfg['prepare']) - DEFAULTS.keys():
        raise SuiteError(f'prepare: unknown {sorted(unknown)}; known are {sorted(DEFAULTS)}.')
    # Whether there is a column task:metric is known once there is a record with it.
    plain = [name for name in cfg['columns'] if ':' not in name]
    if plain or not cfg['columns']:
        parse_columns(plain)
    if unknown := set(cfg['curves']) - set(cfg['columns']):
        raise SuiteError(f'curves: {sorted(unknown)} are no columns of the suite.')
    for column, bar in cfg['checks'].get('pretraining_pays', {}).items():
        if column not in cfg['columns']:
            raise SuiteError(
                f'checks.pretraining_pays.{column}: no such column; there are '
                f'{list(cfg["columns"])}.'
            )
        place, types = f'checks.pretraining_pays.{column}', _BAR | dict.fromkeys(METHODS, dict)
        _check(place, bar, types, ('gain',))
        for method in bar.keys() & METHODS.keys():
            _check(f'{place}.{method}', bar[method], _BAR, ('gain',))
    return cfg


def read_config(path: Path) -> Config:
    """A config file.

    Raises:
        SuiteError: It cannot be read.
    """
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is a program, and fails as one
        words = ' '.join(str(error).split())
        raise SuiteError(f'{path} is no config: {type(error).__name__}: {words}') from error
    drop_own_scope(cfg)
    return cfg


_read_once = cache(read_config)  # the same object: whoever changes it copies it


def check_whole(name: str, value, least: int = 1) -> None:
    """Make sure that a value is a whole number, ``least`` or more, and no slip of the keyboard.

    Raises:
        SuiteError: It is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SuiteError(f'{name}={value!r}: expected a whole number, {least} or more.')
    if name.endswith(('gpus', 'jobs')) and value > _MOST:
        raise SuiteError(f'{name}={value}: expected a whole number, {_MOST} or less.')


def _check(place: str, given: Mapping, types: dict, required: Sequence[str]) -> None:
    """Make sure that an entry has what it must, and nothing unknown or of a wrong type."""
    if not isinstance(given, Mapping):
        raise SuiteError(f'{place}: expected dict(...), not {given!r}.')
    if unknown := sorted(set(given) - types.keys()):
        raise SuiteError(f'{place}: unknown {unknown}; known are {sorted(types)}.')
    if missing := [key for key in required if key not in given]:
        raise SuiteError(f'{place}: {missing} must be given.')
    for key, value in given.items():
        if not isinstance(value, types[key]):
            kinds = types[key] if isinstance(types[key], tuple) else (types[key],)
            raise SuiteError(f'{place}: {key}={value!r}: expected {in_words(kinds)}.')
    if 'gpus' in given:
        check_whole(f'{place}.gpus', given['gpus'])
    try:
        json.dumps(given.get('options'))
    except TypeError as error:
        raise SuiteError(f'{place}.options must be what JSON can hold: {error}.') from None


def _runs_of_seed(cfg: dict, seed: int, gpus: int | None) -> Iterator[Run]:
    def of_config(row: str, what: str, title: str, tool: str, entry: dict, **more) -> Run:
        return Run(
            f'{row}_seed{seed}/{what}',
            f'{title}, seed {seed}',
            tool,
            **{'target': entry['config'], **more},
            options={'randomness.seed': seed, **entry.get('options', {})},
            gpus=gpus or entry.get('gpus', cfg['gpus']),
            budget=cfg['budget'],
            seconds=entry.get('seconds'),
        )

    rows, pretrained = {}, {}
    for row, entry in cfg['pretrain'].items():
        if seed not in entry.get('seeds', (seed,)):
            continue
        teacher = entry.get('teacher', '')
        if teacher and teacher not in rows:
            raise SuiteError(
                f'pretrain.{row}: its teacher {teacher!r} must be a row before it, of seed {seed} '
                f'too; there are {list(rows)}.'
            )
        rows[row] = entry.get('title', row)
        title, more = f'pre-training {rows[row]}', {}
        if teacher:
            more = dict(teacher=f'{teacher}_seed{seed}/pretrain')
        pretrained[row] = of_config(row, 'pretrain', title, 'train', entry, **more)
        yield pretrained[row]
    for name, entry in cfg['evaluate'].items():
        if entry['tool'] not in ('train', 'test'):
            raise SuiteError(f"evaluate.{name}: tool={entry['tool']!r}; 'train' or 'test'.")
        if unknown := set(entry.get('only', ())) - {*cfg['pretrain'], *cfg['encoders'], SCRATCH}:
            raise SuiteError(f'evaluate.{name}: only={sorted(unknown)} are no rows.')
    rows |= {row: entry.get('title', row) for row, entry in cfg['encoders'].items()}
    for row in (*rows, SCRATCH):
        for name, entry in cfg['evaluate'].items():
            if row not in entry.get('only', (row,)):
                continue
            title = entry.get('title', name)
            if row in cfg['encoders']:
                start, options = _of_encoder(cfg['encoders'][row], entry)
                entry = {**entry, 'options': {**options, **entry.get('options', {})}}
                yield of_config(
                    row, name, f'{title} of {rows[row]}', entry['tool'], entry, start=start
                )
                continue
            if row == SCRATCH:
                title = entry.get('scratch_title', f'{title} from scratch')
                more = dict(start=SCRATCH, target=entry.get('scratch', entry['config']))
            else:
                title, more = f'{title} of {rows[row]}', dict(start=f'{row}_seed{seed}/pretrain')
            yield of_config(row, name, title, entry['tool'], entry, **more)
            for share in entry.get('also_at', ()) if row != SCRATCH else ():
                epoch = _epoch_at(share, pretrained[row], name)
                what, at = f'{name}_at_{epoch}', f'{title} after epoch {epoch}'
                yield of_config(row, what, at, entry['tool'], entry, epoch=epoch, **more)


def _of_encoder(encoder: Mapping, entry: Mapping) -> tuple[str, dict]:
    """What an evaluation of an encoder of others starts from, and the overrides of its config.

    A ``model`` of timm takes the place of the config's backbone and keeps what the protocol says of
    it: which features, frozen or not, drop path. Without one the config's ViT reads the checkpoint.
    """
    checkpoint = encoder.get('checkpoint', 'hub')
    if 'model' not in encoder and checkpoint == 'hub':
        raise SuiteError('encoders: give a model of timm, a checkpoint, or both.')
    options = {'encoder_card': dict(encoder['card'])} if encoder.get('card') else {}
    if 'model' in encoder:
        backbone = read_config(ROOT / entry['config']).model.backbone
        kept = {key: backbone[key] for key in PROTOCOL if key in backbone}
        kept |= {key: encoder[key] for key in ('model_args',) if key in encoder}
        if 'part' in encoder:
            kept['pretrained_part'] = encoder['part']
        options['model.backbone'] = dict(
            _delete_=True, type='mixae.TimmEncoder', model=encoder['model'], **kept
        )
    elif 'part' in encoder:
        options['model.backbone.pretrained_part'] = encoder['part']
    return f'{FILE}{checkpoint}', options


def _epoch_at(share: float, pretraining: Run, name: str) -> int:
    """The epoch of a share of a pre-training, whose checkpoint the run must keep.

    Raises:
        SuiteError: The share is no epoch, or no checkpoint of it is kept.
    """
    place = f'evaluate.{name}.also_at'
    if not isinstance(share, float) or not 0 < share < 1:
        raise SuiteError(f'{place}: {share!r}: expected shares of the pre-training such as 0.5.')
    cfg = pretraining.config()
    epochs = cfg.train_cfg.get('max_epochs') or 0
    keep, epoch = cfg.default_hooks.checkpoint, round(share * epochs)
    every = keep.interval if isinstance(keep.interval, int) else epochs
    whole = epochs and math.isclose(epoch, share * epochs)
    if not whole or epoch % every or keep.max_keep_ckpts != -1:
        raise SuiteError(
            f'{place}: {share} of the {epochs} epochs of {pretraining.name} must be an epoch whose '
            'checkpoint is kept: set default_hooks.checkpoint.interval and '
            'default_hooks.checkpoint.max_keep_ckpts=-1 in its options.'
        )
    return epoch


def _analyses(cfg: dict, group: str, seed: int) -> Iterator[Run]:
    """The runs of tools below tools/analysis: of 'analyses', or of 'pictures'."""
    for name, entry in cfg[group].items():
        of = entry['of']
        if of not in cfg['pretrain']:
            raise SuiteError(f'{group}.{name}: of={of!r} is no row of pretrain.')
        if seed not in cfg['pretrain'][of].get('seeds', (seed,)):
            continue
        rows = {f'{{{row}}}': f'{row}_seed{seed}/pretrain' for row in cfg['pretrain']}
        given = {key: f'{{{run}}}' for key, run in rows.items()}
        given |= {'{seed}': str(seed), '{budget}': cfg['budget']}
        title, is_picture = entry.get('title', name), group == 'pictures'
        yield Run(
            f'pictures/{name}' if is_picture else f'{of}_seed{seed}/{name}',
            title if is_picture else f'{title}, seed {seed}',
            'picture' if is_picture else 'analysis',
            entry['tool'],
            start=f'{of}_seed{seed}/pretrain',
            uses=tuple(rows[argument] for argument in entry['arguments'] if argument in rows),
            arguments=tuple(given.get(argument, argument) for argument in entry['arguments']),
            seconds=entry.get('seconds'),
        )
