"""From folders of records to a finished table or page: what `tools/leaderboard.py` calls."""

import os
from collections.abc import Sequence
from pathlib import Path

from mixae.leaderboard.metafile import to_metafile
from mixae.leaderboard.page import load_images, to_html
from mixae.leaderboard.published import PublishedResult, load_published
from mixae.leaderboard.record import RunRecord, read_records
from mixae.leaderboard.tables import (
    DEFAULT_COLUMNS,
    build_table,
    select_published,
    to_csv,
    to_latex,
    to_markdown,
    to_text,
)

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


def write_whole(path: str | os.PathLike, text: str) -> None:
    """Replace a file: it appears whole or not at all. Its folder is made if missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with open(draft, 'w', encoding='utf-8', newline='') as file:
            file.write(text)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
