"""From folders of records to a finished table or page: what `tools/leaderboard.py` calls."""

import os
from collections.abc import Sequence
from pathlib import Path

from mixae.files import write_whole
from mixae.results.compare import (
    DEFAULT_COLUMNS,
    build_table,
    select_published,
    to_csv,
    to_latex,
    to_markdown,
    to_text,
)
from mixae.results.metafile import to_metafile
from mixae.results.published import PublishedResult, load_published
from mixae.results.record import RunRecord, read_records
from mixae.results.render.html import load_images, to_html

FORMATS = ('text', 'md', 'csv', 'latex', 'html', 'metafile')
PUBLISHED = ('none', 'matching', 'all')


def write_leaderboard(
    sources: Sequence[str | os.PathLike],
    out: str | os.PathLike | None = None,
    format: str = 'text',
    columns: Sequence[str] = DEFAULT_COLUMNS,
    published: str = 'none',
    images: Sequence[str | os.PathLike] = (),
    title: str = 'Leaderboard',
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
        title: the page's title ('html' only).
        method: whose model index file ('metafile' only, where it must be given).

    Returns:
        The text.

    Raises:
        ValueError: an unknown format or choice (`RecordError` and `TableError`, for what is wrong
            with a record or cannot be shown, are ValueErrors too).
    """
    for name, value, known in (('format', format, FORMATS), ('published', published, PUBLISHED)):
        if value not in known:
            raise ValueError(f'{name}={value!r}: expected one of {", ".join(known)}.')
    if not sources and published != 'all':
        raise ValueError("no records given; name the folder that holds them, or published='all'.")
    if images and format != 'html':
        raise ValueError(f'images are shown on the page only, not in format {format!r}.')
    if (format == 'metafile') != (method is not None):
        raise ValueError("a method is named for format='metafile', and for no other.")
    records = read_records(sources) if sources else []
    table = build_table(records, published_beside(records, published), columns)
    if format == 'metafile':
        text = to_metafile(records, method)
    elif format == 'text':
        text = to_text(table)
    elif format == 'md':
        text = to_markdown(table, base=Path(out).parent if out else None)
    elif format == 'csv':
        text = to_csv(table)
    elif format == 'latex':
        text = to_latex(table)
    else:
        text = to_html(table, records, images=load_images(images), title=title)
    if out is not None:
        write_whole(out, text)
    return text


def published_beside(records: Sequence[RunRecord], choice: str) -> list[PublishedResult]:
    """The published numbers to show beside `records`: `choice` is one of `PUBLISHED`."""
    papers = [] if choice == 'none' else load_published()
    return select_published(papers, records) if choice == 'matching' else papers
