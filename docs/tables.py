"""Make every table of the docs anew from the committed records: `make tables`.

The README and each page of `docs/results` name the commands of their tables. A table is put below
its command, and notes and records of all tables at the end of a page of results. Then follow the
model index files and the claims page.
"""

import os
import re
import runpy
import shlex
import sys
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mixae.files import write_whole  # noqa: E402
from mixae.results.compare import build_table  # noqa: E402
from mixae.results.names import COLUMNS, METHODS  # noqa: E402
from mixae.results.record import read_records  # noqa: E402
from mixae.results.render.markdown import to_markdown  # noqa: E402
from mixae.results.verdicts import claims_page  # noqa: E402
from mixae.results.write import published_beside, write_leaderboard  # noqa: E402

README = ROOT / 'README.md'
PAGES = [README, *sorted((ROOT / 'docs' / 'results').glob('*/README.md'))]
NOTES = '## Notes and records'
_TABLE = re.compile(r'(```bash\n|<!-- )(tools/leaderboard\.py .*)(\n```| -->)\n\n(?:\|.*\n)*')
_LINK = re.compile(r'^\[\w+\]: .*\n', re.MULTILINE)


def run_command(command: str, folder: Path) -> tuple[str, str]:
    """Table and notes of a command of `tools/leaderboard.py`, for a page in this folder."""
    with mock.patch.object(sys, 'argv', shlex.split(command)):
        args = runpy.run_path(str(ROOT / 'tools' / 'leaderboard.py'))['parse_args']()
    records = read_records([ROOT / place for place in args.records])
    columns = args.columns or list(COLUMNS)
    table = build_table(records, published_beside(records, args.published), columns)
    rows, notes = to_markdown(table, base=folder).split('\n\n', maxsplit=1)
    return rows, notes


def page_with_tables(path: Path) -> str:
    """A page with its tables made anew and, in `docs/results`, their notes and links."""
    text = path.read_text().split(f'\n{NOTES}\n')[0].rstrip() + '\n'
    notes, links = [], {}

    def make(found: re.Match) -> str:
        before, command, after = found.groups()
        rows, about = run_command(command, path.parent)
        links.update(dict.fromkeys(_LINK.findall(about)))
        headings = re.findall(r'^##? (.*)', text[: found.start()], re.MULTILINE)
        notes.append((headings[-1], _LINK.sub('', about).strip()))
        return f'{before}{command}{after}\n\n{rows}\n'

    text = _TABLE.sub(make, text)
    if path == README:
        return text
    several = len(notes) > 1
    parts = [f'### {heading}\n\n{about}' if several else about for heading, about in notes]
    return '\n\n'.join([text.rstrip(), NOTES, *parts, ''.join(links)])


def main() -> None:
    os.chdir(ROOT)
    for path in PAGES:
        write_whole(path, page_with_tables(path))
    for method in METHODS:
        if (index := ROOT / 'configs' / method / 'metafile.yml').exists():
            write_leaderboard(['docs/results'], index, 'metafile', method=method)
    write_whole(
        ROOT / 'docs' / 'analysis' / 'claims.md', claims_page(read_records(['docs/results']))
    )


if __name__ == '__main__':
    main()
