"""The leaderboard as one self-contained HTML page.

Everything is in the file (style, script, records, pictures), so it works offline; a content
security policy in it forbids the rest. The table is plain HTML and can be read without the script,
which adds sorting, filters, the plots and the view of a record.
"""

import base64
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mixae.results.compare import (
    COLUMNS,
    METHOD_NAMES,
    ColumnKind,
    Table,
    cell_parts,
    column_header,
    settings_text,
)
from mixae.results.record import RunRecord

_TYPES = {'.png': 'png', '.jpg': 'jpeg', '.jpeg': 'jpeg', '.webp': 'webp', '.svg': 'svg+xml'}
_PAGE = Path(__file__).parents[1] / 'page'
TASK_NAMES = {
    'finetune': 'Fine-tuning',
    'linear': 'Linear probe',
    'semseg': 'Semantic segmentation',
    'detection': 'Detection, instance segmentation',
    'knn': 'kNN',
}


def load_images(sources: Iterable[str | os.PathLike]) -> list[tuple[str, str]]:
    """Pictures as (caption, data URI): image files, and those directly in folders, by name.

    Raises:
        ValueError: a source that does not exist, a folder without a picture, or a file that is no
            PNG, JPEG, WebP or SVG by its name.
    """
    images = []
    for source in map(Path, sources):
        if not source.exists():
            raise ValueError(f'{source}: no such picture or folder.')
        found = [source]
        if source.is_dir():
            found = sorted(path for path in source.iterdir() if path.suffix.lower() in _TYPES)
            if not found:
                raise ValueError(f'{source}: no picture ({", ".join(_TYPES)}) in this folder.')
        for path in found:
            kind = _TYPES.get(path.suffix.lower())
            if kind is None:
                raise ValueError(f'{path}: expected a picture, one of {", ".join(_TYPES)}.')
            data = base64.b64encode(path.read_bytes()).decode()
            caption = path.stem.replace('_', ' ').replace('-', ' ')
            images.append((caption, f'data:image/{kind};base64,{data}'))
    return images


def to_html(
    table: Table,
    records: Sequence[RunRecord] = (),
    images: Sequence[tuple[str, str]] = (),
    title: str = 'Leaderboard',
) -> str:
    """The page of a table.

    Args:
        table: from `build_table`; its records can be opened from their cells.
        records: records whose curves (TopK accuracy) are drawn, those of pre-training too.
        images: (caption, data URI) pairs, from `load_images`.
        title: heading of the page.
    """
    environment = Environment(
        loader=FileSystemLoader(_PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template('page.html').render(
        title=title,
        table=table,
        headers=[column_header(column) for column in table.columns],
        cell_parts=cell_parts,
        images=images,
        methods=list(dict.fromkeys(row.method_text for row in table.rows)),
        backbones=list(dict.fromkeys(row.backbone_text for row in table.rows)),
        tasks=list(dict.fromkeys(_task(c.kind) for c in table.columns if not c.kind.cost)),
        task_of=_task,
        has_published=any(row.source for row in table.rows),
        has_curves=any(record.get('curves') for record in records),
        data=_script_json(_data(table, records)),
        style=Markup((_PAGE / 'page.css').read_text(encoding='utf-8')),
        script=Markup((_PAGE / 'page.js').read_text(encoding='utf-8')),
    )


def _task(kind: ColumnKind) -> str:
    """What a column is filtered by: its task; those that share columns are one; '' for a cost."""
    if kind.cost:
        return ''
    (task, *_) = next((k.tasks for k in COLUMNS.values() if kind.tasks[0] in k.tasks), kind.tasks)
    return TASK_NAMES.get(task, task.replace('_', ' ').capitalize())


def _data(table: Table, records: Sequence[RunRecord]) -> dict:
    shown = {record['id']: record for record in [*table.records.values(), *records]}
    return dict(
        records={
            record_id: {name: part for name, part in record.items() if name != 'curves'}
            for record_id, record in shown.items()
        },
        columns=[
            dict(
                id=f'c{index}',
                header=header,
                cost=column.kind.cost,
                up=column.higher_is_better,
            )
            for index, (column, header) in enumerate(
                (column, column_header(column)) for column in table.columns
            )
        ],
        points=_points(table),
        curves=_curves(shown.values()),
    )


def _curves(records: Iterable[RunRecord]) -> list[dict]:
    """Each curve once: the records of all evaluations of one pre-training carry the same."""
    curves = {}
    records = [record for record in records if record.get('curves')]
    names = _names([(r['method'], r['variant'], (r['backbone']['arch'],)) for r in records])
    for name_of_run, record in zip(names, records, strict=True):
        run = f'{name_of_run}, seed {(record["pretraining"] or record)["seed"]}'
        for name, curve in record['curves'].items():
            curves.setdefault((run, name, json.dumps(curve)), dict(curve, name=name, run=run))
    return list(curves.values())


def _points(table: Table) -> list[dict]:
    # Published rows have no cost to be plotted at: they follow, and need no name of their own.
    measured = [row for row in table.rows if not row.source]
    names = _names(
        [(row.method, row.variant, (row.backbone_text, row.pretraining_text)) for row in measured]
    )
    names += [row.method_text for row in table.rows if row.source]
    return [
        dict(
            method=row.method_text,
            name=name,
            published=bool(row.source),
            cells={
                f'c{index}': dict(mean=cell.mean, std=cell.std, records=cell.records)
                for index, column in enumerate(table.columns)
                if (cell := row.cells.get(column.id)) and not cell.is_delta
            },
        )
        for row, name in zip(table.rows, names, strict=True)
    ]


def _names(entries: Sequence[tuple[str, dict, tuple[str, ...]]]) -> list[str]:
    """Short names of (method, variant, further texts): the method, and what tells it from others.

    A setting or a text that all entries of a method share is left out.
    """
    names = []
    for method, variant, texts in entries:
        same = [(other, more) for name, other, more in entries if name == method]
        missing = object()
        apart = {
            key: value
            for key, value in variant.items()
            if any(other.get(key, missing) != value for other, _ in same)
        }
        told = [text for at, text in enumerate(texts) if len({more[at] for _, more in same}) > 1]
        parts = (METHOD_NAMES.get(method, method), settings_text(apart), *told)
        names.append(', '.join(filter(None, parts)))
    return names


def _script_json(value) -> Markup:
    """JSON that may stand inside a script element: nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    for character in '<>&\u2028\u2029':
        text = text.replace(character, f'\\u{ord(character):04x}')
    return Markup(text)
