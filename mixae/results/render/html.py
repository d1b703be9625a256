"""The leaderboard as one self-contained HTML page.

Everything is in the file (style, script, charts, pictures, records), so it works offline; a content
security policy in it forbids the rest. The table is plain HTML and can be read without the script,
which adds sorting, filters and the view of a record. The records are packed: the script unpacks
them when the first is opened.
"""

import base64
import json
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mixae.errors import TableError, visible
from mixae.results.names import COLUMNS, ColumnKind, task_name
from mixae.results.record import RunRecord
from mixae.results.render.charts import cost_charts, curve_charts
from mixae.results.render.common import all_visible, cell_parts, footnotes
from mixae.results.table import Table

_TYPES = {'.png': 'png', '.jpg': 'jpeg', '.jpeg': 'jpeg', '.webp': 'webp', '.svg': 'svg+xml'}
_PAGE = Path(__file__).parents[1] / 'page'


def load_images(sources: Iterable[str | os.PathLike]) -> list[tuple[str, str]]:
    """Pictures as (caption, data URI): image files, and those directly in folders, by name.

    Raises:
        TableError: a source that does not exist, a folder without a picture, or a file that is no
            PNG, JPEG, WebP or SVG by its name.
    """
    images = []
    for source in map(Path, sources):
        if not source.exists():
            raise TableError(f'{source}: no such picture or folder.')
        found = [source]
        if source.is_dir():
            found = sorted(path for path in source.iterdir() if path.suffix.lower() in _TYPES)
            if not found:
                raise TableError(f'{source}: no picture ({", ".join(_TYPES)}) in this folder.')
        for path in found:
            kind = _TYPES.get(path.suffix.lower())
            if kind is None:
                raise TableError(f'{path}: expected a picture, one of {", ".join(_TYPES)}.')
            try:
                data = base64.b64encode(path.read_bytes()).decode()
            except OSError as error:
                raise TableError(f'{path}: cannot be read ({error.strerror}).') from error
            if not data:
                raise TableError(f'{path}: is empty, and no picture.')
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
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    shown = {record['id']: record for record in [*table.records.values(), *records]}
    curves, all_curves = curve_charts(list(shown.values()))
    return environment.get_template('page.html').render(
        title=title,
        table=table,
        n=table.n,
        cell_parts=cell_parts,
        footnotes=footnotes(table),
        has_ranks=any(cell.rank for cell in table.cells),
        images=images,
        methods=list(dict.fromkeys(row.method_text for row in table.rows)),
        backbones=list(dict.fromkeys(row.backbone_text for row in table.rows)),
        tasks=list(dict.fromkeys(_task(c.kind) for c in table.columns if not c.kind.is_cost)),
        task_of=_task,
        has_published=any(row.source for row in table.rows),
        cost_charts=cost_charts(table),
        curve_charts=curves,
        curves_left_out=all_curves - len(curves),
        packed_records=_pack(shown),
        style=Markup((_PAGE / 'page.css').read_text(encoding='utf-8')),
        script=Markup((_PAGE / 'page.js').read_text(encoding='utf-8')),
    )


def _task(kind: ColumnKind) -> str:
    """What a column is filtered by: its task; those that share columns are one; '' for a cost."""
    if kind.is_cost:
        return ''
    (task, *_) = next((k.tasks for k in COLUMNS.values() if kind.tasks[0] in k.tasks), kind.tasks)
    return task_name(task)


def _pack(records: dict[str, RunRecord]) -> str:
    """The records by id, without their curves: JSON, zlib, base64."""
    entries = (f'"{record_id}":{_to_json(record)}' for record_id, record in records.items())
    return base64.b64encode(zlib.compress(f'{{{",".join(entries)}}}'.encode())).decode()


def _to_json(record: RunRecord) -> str:
    """A record without its curves as JSON, with everything in its texts visible."""
    kept = {name: part for name, part in record.items() if name != 'curves'}
    text = json.dumps(kept, ensure_ascii=False)
    # What is not visible is seldom there, and then in the text or an escape in it.
    if text.isprintable() and not re.search(r'\\(u00|[bfr])', text):
        return text
    return json.dumps(all_visible(kept), ensure_ascii=False)
