"""What README and docs say exists, exists; their tables are what the committed records give."""

import glob
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    p
    for folder in ('', 'docs', 'configs', 'benchmarks')
    for p in (ROOT / folder).glob('*.md' if not folder else '**/*.md')
)
# Outputs and data of the reader's, and names that stand for theirs.
NOT_OURS = re.compile(
    r'^(work_dirs|data|records)/|PATH|CLASS|WNID|NUMBER|^configs/(noisy_mae|flowers_linear|my_images)\.py'
)
NAMED = re.compile(
    r'(?<![\w/.-])((?:configs|tools|docs|mixae|requirements|benchmarks|tests)/[\w./{},*\[\]-]*)'
)


def expand(pattern: str) -> list[str]:
    """Shell braces: 'a{b,c}' names two things."""
    found = re.search(r'\{([^{}]*)\}', pattern)
    if not found:
        return [pattern]
    return [
        name
        for part in found[1].split(',')
        for name in expand(pattern[: found.start()] + part + pattern[found.end() :])
    ]


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page):
    text = re.sub(r'\]\([^)]*\)', ']', page.read_text())  # links are relative to the page
    missing = [
        name
        for found in NAMED.findall(text)
        for name in expand(found.rstrip('.,:]'))
        if not NOT_OURS.search(name) and not glob.glob(str(ROOT / name))
    ]
    assert not missing


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    links = re.findall(r'\]\(<?([^)>\s]+)>?\)', page.read_text())
    missing = [
        link
        for link in links
        if not re.match(r'https?:|#|mailto:', link)
        and not (page.parent / link.split('#')[0]).exists()
    ]
    assert not missing


def test_every_make_target_that_the_readme_names_exists():
    targets = re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    named = re.findall(r'`?make ([a-z-]+)', (ROOT / 'README.md').read_text())
    assert named and set(named) <= set(targets)


TABLES = runpy.run_path(str(ROOT / 'docs' / 'tables.py'))


@pytest.mark.parametrize('page', TABLES['PAGES'], ids=lambda p: str(p.relative_to(ROOT)))
def test_the_committed_tables_are_what_their_records_give(page):
    """``make tables`` writes them below the commands that the page names."""
    text = page.read_text()
    assert '\ntools/leaderboard.py ' in text or '<!-- tools/leaderboard.py ' in text
    assert text == TABLES['page_with_tables'](page)


@pytest.mark.parametrize(
    'page', [p for p in PAGES if 'results' not in p.parts], ids=lambda p: str(p.relative_to(ROOT))
)
def test_no_line_of_prose_is_over_100_columns(page):
    """Tables, code, comments and lines with links may be longer."""
    is_code, long = False, []
    for line in page.read_text().splitlines():
        if line.strip().startswith('```'):
            is_code = not is_code
        elif (
            not is_code
            and len(line) > 100
            and not line.startswith(('|', '<!--'))
            and '](' not in line
        ):
            long.append(line)
    assert not long
