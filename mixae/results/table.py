"""What a table is: columns, rows and cells, before anything is compared or written."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from mixae.errors import TableError
from mixae.results.names import COLUMNS, METHODS, ColumnKind, dataset_name, method_name
from mixae.results.published import PublishedResult
from mixae.results.record import RunRecord
from mixae.results.watched import watched_metrics

AS_PUBLISHED = 'as published'


@dataclass
class Column:
    """One column of a table. `id` is unique in the table; `note` says under which protocol."""

    id: str
    kind: ColumnKind
    header: str
    unit: str = ''
    dataset: str = ''
    note: str = ''
    higher_is_better: bool = True

    @property
    def title(self) -> str:
        """The header with its unit."""
        return f'{self.header} ({self.unit})' if self.unit else self.header

    @property
    def digits(self) -> int:
        """Digits after the point that are printed."""
        return 2 if self.unit == '%' else 3


@dataclass
class Cell:
    """One number of a table.

    `std` is the sample standard deviation over the `n` runs of different seeds (None for one run);
    `pretrainings` is how many seeds of pre-training they started from, `by_seed` their results by
    the seed that pairs them with another row's; `mean` is the mean of these. `delta` is the
    difference from the MAE row's cell over `delta_pairs` seeds (0: published numbers), `delta_half`
    half of its 95 % interval, where there is one. `rank` is 1 (best), 2 (second best) or 0;
    `is_tied` where the best are not separable and this is one of them, `seeds_needed` how many
    seeds would tell it from the highest. `is_delta`: the published number itself is a difference
    from MAE. `records` are the ids of the records behind it.
    """

    mean: float
    std: float | None = None
    n: int = 1
    pretrainings: int = 0
    by_seed: dict[str, float] = field(default_factory=dict)
    delta: float | None = None
    delta_half: float | None = None
    delta_pairs: int = 0
    rank: int = 0
    is_tied: bool = False
    seeds_needed: int | None = None
    is_delta: bool = False
    records: tuple[str, ...] = ()
    protocol: str = ''


@dataclass
class Row:
    """One method with its backbone and pre-training. `source` is '' for a measured row.

    `undefined` says by column in how many runs its metric has no value.
    """

    method: str
    variant: dict
    backbone: dict
    pretraining: dict | None  # dataset, epochs, images_seen, part, teacher (the records' schema)
    labels_in_pretraining: bool | None
    source: str = ''
    url: str = ''
    notes: tuple[str, ...] = ()
    cells: dict[str, Cell] = field(default_factory=dict)
    records: list[RunRecord] = field(default_factory=list)
    undefined: dict[str, str] = field(default_factory=dict)

    @property
    def method_text(self) -> str:
        return method_name(self.method)

    @property
    def variant_text(self) -> str:
        return settings_text(self.variant)

    @property
    def name(self) -> str:
        """Method and variant."""
        return f'{self.method_text} {self.variant_text}'.rstrip()

    @property
    def backbone_text(self) -> str:
        if self.backbone['arch'] is None:
            return 'not stated'
        patch = f'/{self.backbone["patch_size"]}' if self.backbone['patch_size'] else ''
        return f'{self.backbone["arch"]}{patch}, {self.backbone["img_size"]} px'

    @property
    def pretraining_text(self) -> str:
        if self.pretraining is None:
            return 'none'
        epochs = self.pretraining['epochs']
        data = dataset_name(self.pretraining['dataset'])
        if part := self.pretraining.get('part'):
            data += f', {part.replace("-", " ")}'
        elif epochs is not None:
            data += f', {epochs:g} epochs'
        teacher = (self.pretraining.get('teacher') or {}).get('epochs')
        return data if teacher is None else f'{data} (teacher {teacher:g})'

    @property
    def labels_text(self) -> str:
        return {True: 'yes', False: 'no', None: 'not stated'}[self.labels_in_pretraining]

    @property
    def source_text(self) -> str:
        return f'published: {self.source}' if self.source else 'measured'

    @property
    def order(self) -> tuple:
        """Where a measured row stands: by backbone, data, method, then what it cost."""
        methods = list(METHODS)
        pretraining = self.pretraining or {}
        return (
            self.backbone_text,
            pretraining.get('dataset') or '',
            methods.index(self.method) if self.method in methods else len(methods),
            self.method,
            self.labels_in_pretraining,
            pretraining.get('images_seen') or 0,
            pretraining.get('epochs') or 0,
            self.variant_text,
        )


@dataclass
class Table:
    """Columns, rows (measured ones first), and the records behind the cells by id.

    `undecided` says of each column without a best row why it has none; `notes` are further
    footnotes, such as which runs of a suite are missing.
    """

    columns: list[Column]
    rows: list[Row]
    records: dict[str, RunRecord]
    undecided: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def cells(self) -> list[Cell]:
        return [cell for row in self.rows for cell in row.cells.values()]

    @property
    def n(self) -> int | None:
        """The number of runs behind each measured result; None where it is not the same."""
        costs = {column.id for column in self.columns if column.kind.is_cost}
        numbers = {
            cell.n
            for row in self.rows
            for key, cell in row.cells.items()
            if cell.records and key not in costs
        }
        return numbers.pop() if len(numbers) == 1 else None


def settings_text(settings: Mapping) -> str:
    """'key=value, ...' in the keys' order; values as JSON writes them, strings without quotes."""
    return ', '.join(
        f'{key}={value if isinstance(value, str) else json.dumps(value)}'
        for key, value in sorted(settings.items())
    )


# ---- what is asked for -----------------------------------------------------------------------


def parse_columns(
    names: Sequence[str],
    records: Iterable[Mapping] = (),
    published: Iterable[PublishedResult] = (),
) -> list[ColumnKind]:
    """The columns of these names: a key of `COLUMNS`, or `task:metric` for any metric there is.

    Raises:
        TableError: an unknown name, a name given twice, or no name; it lists what there is.
    """
    there = {(record['task'], name) for record in records for name in record['metrics']}
    if any(name.startswith('pretrain:') for name in names):
        there |= {('pretrain', name) for record in records for name in watched_metrics(record)}
    there |= {(result.task, result.metric) for result in published}
    kinds = []
    for name in names:
        task, colon, metric = name.partition(':')
        if name in COLUMNS:
            kinds.append(COLUMNS[name])
        elif colon and (task, metric) in there:
            kinds.append(ColumnKind(name, _header(task, metric), (task,), (metric,)))
        else:
            more = ', '.join(sorted(f'{task}:{metric}' for task, metric in there)) or 'none'
            close = get_close_matches(name, [*COLUMNS, *(f'{t}:{m}' for t, m in there)], n=1)
            meant = f'; did you mean {close[0]}?' if close else '.'
            raise TableError(
                f'unknown column {name!r}{meant} Columns are {", ".join(COLUMNS)}, or task:metric; '
                f'these records and published numbers have {more}.'
            )
    if not kinds:
        raise TableError(f'no column asked for; columns are {", ".join(COLUMNS)}.')
    for name, count in Counter(kind.key for kind in kinds).items():
        if count > 1:
            raise TableError(f'column {name!r} is asked for {count} times.')
    return kinds


def _header(task: str, metric: str) -> str:
    """Of a column `task:metric`; a line of a curve goes by the name of the curve's own column."""
    curve, _, line = metric.partition('/')
    for kind in COLUMNS.values():
        if task == 'pretrain' and line and (kind.tasks, kind.metrics) == ((task,), (curve,)):
            return f'{kind.header}, {line}'
    return f'{task.replace("_", " ")} {metric}'


def metric_shown(kind: ColumnKind, task: str, metrics: Iterable[str]) -> str | None:
    """The metric of a task that a column shows, if it shows one of these."""
    if task not in kind.tasks:
        return None
    return next((name for name in kind.metrics if name in metrics), None)


def select_published(
    published: Iterable[PublishedResult], records: Iterable[Mapping]
) -> list[PublishedResult]:
    """The published numbers of tasks and data sets that the records have too."""
    there = {
        (what, dataset_name(record['dataset']['name']))
        for record in records
        for what in _shown_as(record['task'])
    }
    return [
        result
        for result in published
        if any((what, dataset_name(result.dataset)) in there for what in _shown_as(result.task))
    ]


def _shown_as(task: str) -> set[str]:
    """A task, and the columns that it shares with others."""
    return {task} | {kind.key for kind in COLUMNS.values() if task in kind.tasks}
