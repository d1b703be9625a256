"""Numbers that others published: `published.yaml`, unfolded to one result a line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from mixae.errors import TableError

_TABLE = {'source', 'table', 'unit', 'columns', 'rows', 'delta', 'note'}
_COLUMN = {'dataset', 'task', 'metric', 'protocol', 'pretrained_on', 'higher_is_better'}
_ROW = {
    'method',
    'values',
    'variant',
    'backbone',
    'epochs',
    'labels_in_pretraining',
    'note',
    'entries',
}


@dataclass(frozen=True)
class PublishedResult:
    """One published number.

    `delta`: the value is a difference from MAE, not a level. `entry`: the name of the model in an
    OpenMMLab model index. `pretraining`: data set and epochs, or None for a model from scratch.
    `backbone`: arch, patch_size and img_size, each None where the source does not say; so is
    `labels_in_pretraining`.
    """

    source: str
    source_name: str
    url: str
    table: str
    method: str
    variant: dict
    backbone: dict
    pretraining: dict | None
    labels_in_pretraining: bool | None
    task: str
    dataset: str
    metric: str
    protocol: str
    value: float
    unit: str
    higher_is_better: bool
    delta: bool
    note: str
    entry: str | None


def load_published(path: str | Path | None = None) -> list[PublishedResult]:
    """Read published numbers.

    Args:
        path: a file in the form of `published.yaml` (default: the one that ships with mixae).

    Raises:
        TableError: names the file, the table and what does not fit (a row whose number of values is
            not that of the columns, an unknown key or source, a value that is no number).
    """
    path = Path(path) if path else Path(__file__).with_name('published.yaml')
    try:
        document = yaml.safe_load(path.read_text(encoding='utf-8'))
    except yaml.YAMLError as error:
        raise TableError(f'{path}: not readable as YAML: {error}') from error
    return [
        result
        for table in document['tables']
        for result in _unfold(table, document['sources'], path)
    ]


def _unfold(table: dict, sources: dict, path: Path) -> Iterator[PublishedResult]:
    place = f'{path}: {table.get("source")}, {table.get("table")}'
    _check_keys(table, _TABLE, required={'source', 'table', 'unit', 'columns', 'rows'}, place=place)
    if table['source'] not in sources:
        raise TableError(f'{place}: unknown source; the file has {", ".join(sources)}.')
    source = sources[table['source']]
    for column in table['columns']:
        required = {'dataset', 'task', 'metric', 'protocol'}
        _check_keys(column, _COLUMN, required=required, place=f'{place}, a column')
    for row in table['rows']:
        _check_keys(row, _ROW, required={'method', 'values'}, place=f'{place}, a row')
        entries = row.get('entries', [None] * len(table['columns']))
        if not len(row['values']) == len(entries) == len(table['columns']):
            raise TableError(
                f'{place}, row {row["method"]}: {len(row["values"])} values and {len(entries)} '
                f'entries for {len(table["columns"])} columns.'
            )
        for column, value, entry in zip(table['columns'], row['values'], entries, strict=True):
            if value is None:
                continue
            if not isinstance(value, (int, float)):
                raise TableError(f'{place}, row {row["method"]}: {value!r} is not a number.')
            data = column.get('pretrained_on', column['dataset'])
            setup = source['setups'].get(data, {})
            scratch = row['method'] == 'scratch'
            yield PublishedResult(
                source=table['source'],
                source_name=source['name'],
                url=source['url'],
                table=table['table'],
                method=row['method'],
                variant=row.get('variant', {}),
                backbone=row.get('backbone') or setup['backbone'],
                pretraining=None
                if scratch
                else dict(dataset=data, epochs=row.get('epochs', setup.get('epochs'))),
                labels_in_pretraining=row.get('labels_in_pretraining', False),
                task=column['task'],
                dataset=column['dataset'],
                metric=column['metric'],
                protocol=column['protocol'],
                value=float(value),
                unit=table['unit'],
                higher_is_better=column.get('higher_is_better', True),
                delta=table.get('delta', False),
                note='; '.join(filter(None, (row.get('note'), table.get('note')))),
                entry=entry,
            )


def _check_keys(given: dict, known: set, required: set, place: str) -> None:
    if unknown := given.keys() - known:
        raise TableError(f'{place}: unknown {sorted(unknown)}; known are {sorted(known)}.')
    if missing := required - given.keys():
        raise TableError(f'{place}: {sorted(missing)} missing in {json.dumps(given)[:80]}.')
