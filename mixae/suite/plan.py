"""What a suite consists of: pre-trained once, evaluated many times, over seeds."""

import copy
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from mmengine.config import Config

from mixae.derive import derive
from mixae.derive.checks import nearest
from mixae.engine.hooks.provenance import describe_backbone, describe_variant
from mixae.engine.options import merge_values
from mixae.errors import ConfigError, SuiteError
from mixae.files import ROOT, find_config
from mixae.results.names import settings_apart
from mixae.results.record import config_sha256
from mixae.suite.read import SCRATCH, check_whole, read_config, read_suite

FILE = 'file:'

# What a protocol says of the encoder, whichever it is.
PROTOCOL = ('out_type', 'out_indices', 'final_norm', 'norm_outputs', 'img_size', 'drop_path_rate')
PROTOCOL += ('frozen', 'with_cp', 'pretrained')

_read_once = cache(read_config)  # the same object: whoever changes it copies it


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

    def check_rows(self) -> None:
        """Find pre-trainings that tables would not tell apart.

        Raises:
            SuiteError: Two rows differ in what no record tells.
        """
        told = {}
        for run in self.plan:
            if not run.is_pretraining:
                continue
            cfg, seed = run.config(), run.options.get('randomness.seed')
            what = dict(
                method=cfg.get('method'),
                variant=settings_apart(cfg.get('method'), describe_variant(cfg)),
                backbone=describe_backbone(cfg.model.backbone),
                data=cfg.train_dataloader.dataset,
                length=cfg.train_cfg,
                teacher=run.teacher,
            )
            other = told.setdefault(json.dumps([seed, what], sort_keys=True, default=str), run)
            if other is not run:
                changed = {
                    key
                    for key in {**run.options, **other.options}
                    if run.options.get(key) != other.options.get(key)
                }
                changed = ', '.join(sorted(changed)) or 'nothing but their configs'
                raise SuiteError(
                    f'{other.name} and {run.name} would be one row of a table: they differ in '
                    f"{changed}, which is not in the config's variant. Add it to the options of "
                    "both rows, such as 'variant.rate': 'base_lr'."
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
    cfg = read_suite(find_config(path))
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
