"""From folders of records to a finished table or page: what `tools/leaderboard.py` calls."""

import os
from collections.abc import Sequence
from pathlib import Path

from mixae.errors import TableError
from mixae.files import check_output, write_whole
from mixae.results.compare import build_table
from mixae.results.metafile import to_metafile
from mixae.results.names import COLUMNS
from mixae.results.published import PublishedResult, load_published
from mixae.results.record import RunRecord, find_records, read_records
from mixae.results.render.csv import to_csv
from mixae.results.render.html import load_images, to_html
from mixae.results.render.latex import to_latex
from mixae.results.render.markdown import to_markdown
from mixae.results.render.text import to_text
from mixae.results.table import select_published

FORMATS = ('text', 'md', 'csv', 'latex', 'html', 'metafile')
PUBLISHED = ('none', 'matching', 'all')


def write_leaderboard(
    sources: Sequence[str | os.PathLike],
    out: str | os.PathLike | None = None,
    format: str = 'text',
    columns: Sequence[str] = tuple(COLUMNS),
    published: str = 'none',
    images: Sequence[str | os.PathLike] = (),
    title: str | None = None,
    method: str | None = None,
) -> str:
    """Read records, build their table and write it.

    Args:
        sources: folders with run records, or record files. May be empty with `published='all'`.
        out: the file to write, replaced whole; None writes nothing.
        format: one of `FORMATS`.
        columns: see `build_table`.
        published: 'none', 'matching' (only tasks and data sets that the records have), 'all'.
        images: image files, or folders of them, to show on the page ('html' only).
        title: the page's title ('html' only); None is 'Leaderboard'.
        method: whose model index file ('metafile' only, where it must be given).

    Returns:
        The text.

    Raises:
        RecordError: a record that cannot be trusted.
        TableError: an unknown format or choice, or what cannot be shown.
        OutputError: a file that cannot be written.
    """
    for name, value, known in (('format', format, FORMATS), ('published', published, PUBLISHED)):
        if value not in known:
            raise TableError(f'{name}={value!r}: expected one of {", ".join(known)}.')
    if not sources and published != 'all':
        raise TableError("no records given; name the folder that holds them, or published='all'.")
    if images and format != 'html':
        raise TableError(f'images are shown on the page only, not in format {format!r}.')
    if title is not None and format != 'html':
        raise TableError(f'title={title!r}: the page alone has one, not format {format!r}.')
    if (format == 'metafile') != (method is not None):
        raise TableError("a method is named for format='metafile', and for no other.")
    if out is not None:
        check_output(out)
    if out is not None and Path(out).resolve() in {p.resolve() for p in find_records(sources)}:
        raise TableError(f'{out} is one of the records, which the table would replace.')
    records = read_records(sources) if sources else []
    if format == 'metafile':
        text = to_metafile(records, method)
    else:
        table = build_table(records, published_beside(records, published), columns)
        if format == 'md':
            text = to_markdown(table, base=Path(out).parent if out else None)
        elif format == 'html':
            text = to_html(table, records, images=load_images(images), title=title or 'Leaderboard')
        else:
            text = dict(text=to_text, csv=to_csv, latex=to_latex)[format](table)
    if out is not None:
        write_whole(out, text)
    return text


def published_beside(records: Sequence[RunRecord], choice: str) -> list[PublishedResult]:
    """The published numbers to show beside `records`: `choice` is one of `PUBLISHED`."""
    papers = [] if choice == 'none' else load_published()
    return select_published(papers, records) if choice == 'matching' else papers
