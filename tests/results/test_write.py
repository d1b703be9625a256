"""From a folder of records to files, as the tool does it."""

import csv
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mixae.errors import OutputError, RecordError, TableError
from mixae.results.record import write_record
from mixae.results.write import FORMATS, write_leaderboard

TOOL = Path(__file__).parents[2] / 'tools/leaderboard.py'
_STARTS = {
    'md': '| Method |',
    'csv': 'method,variant',
    'latex': '% \\usepackage{booktabs}',
    'html': '<!doctype html>',
    'metafile': '# Written by tools/leaderboard.py',
}


@pytest.mark.parametrize('format', FORMATS)
def test_every_format_is_written_whole(demo_folder, tmp_path, format):
    out = tmp_path / 'new' / f'table.{format}'
    method = 'mixedae' if format == 'metafile' else None
    text = write_leaderboard([demo_folder], out, format, published='all', method=method)
    assert out.read_bytes().decode() == text
    assert text.startswith(_STARTS.get(format, ''))
    assert 'MixedAE' in text or 'mixedae' in text
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_links_of_a_markdown_file_lead_to_the_records(demo_folder, tmp_path):
    out = tmp_path / 'docs' / 'table.md'
    text = write_leaderboard([demo_folder], out, columns=['knn'], format='md')
    links = [part.split('>')[0] for part in re.split(r'\]\(<|\]: <', text)[1:]]
    assert len(links) > 20 and all((out.parent / link).exists() for link in links)


def test_matching_published_rows_only(make_record, tmp_path):
    write_record(make_record(), tmp_path)
    tables = {
        choice: list(
            csv.DictReader(
                io.StringIO(write_leaderboard([tmp_path], format='csv', published=choice), '')
            )
        )
        for choice in ('none', 'matching', 'all')
    }
    assert len(tables['none']) == 1
    assert len(tables['none']) < len(tables['matching']) < len(tables['all'])
    assert all(line['Linear (%)'] for line in tables['matching'])


def test_published_numbers_need_no_record():
    assert 'published: mmpretrain' in write_leaderboard([], format='md', published='all')


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        (dict(format='pdf'), TableError, "format='pdf': expected one of text, md"),
        (dict(published='some'), TableError, "published='some'"),
        (dict(images=['x.png'], format='md'), TableError, 'on the page only'),
        (dict(images=['x.png'], format='html'), TableError, 'x.png: no such picture'),
        (dict(columns=['lineal']), TableError, "unknown column 'lineal'"),
        (dict(sources=[]), TableError, 'no records given'),
        (dict(sources=['nowhere']), RecordError, 'nowhere: no such file'),
        (dict(out='/dev/null/x'), OutputError, '/dev/null cannot be written'),
        (dict(out='.'), OutputError, "'.' is a folder"),
    ],
)
def test_bad_arguments_are_named(demo_folder, tmp_path, arguments, error, message):
    out = tmp_path / 'out'
    with pytest.raises(error, match=message):
        write_leaderboard(**dict(sources=[demo_folder], out=out) | arguments)
    assert not out.exists()


def test_a_bad_record_leaves_an_older_table_alone(make_record, tmp_path):
    path = write_record(make_record(), tmp_path / 'records')
    out = tmp_path / 'table.md'
    write_leaderboard([tmp_path / 'records'], out, format='md')
    before = out.read_text()
    path.write_text(path.read_text()[:100])
    with pytest.raises(RecordError, match='cut off'):
        write_leaderboard([tmp_path / 'records'], out, format='md')
    assert out.read_text() == before


def test_the_tool(make_record, tmp_path):
    write_record(make_record(), tmp_path / 'records')
    (tmp_path / 'empty').mkdir()

    def run(*arguments):
        command = [sys.executable, str(TOOL), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=TOOL.parents[1])

    done = run(tmp_path / 'records', '--format', 'csv', '--columns', 'linear', '--published')
    assert done.returncode == 0, done.stderr
    lines = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {line['source'] for line in lines} >= {'measured', 'published: i-MAE, Table 2'}
    failed = run(tmp_path / 'empty')
    assert failed.returncode == 1 and 'no run record' in failed.stderr
    assert 'Traceback' not in failed.stderr


def test_records_become_tables_without_torch(make_record, tmp_path):
    path = write_record(make_record(), tmp_path / 'records')
    code = (
        'import sys; from mixae.results.write import FORMATS, write_leaderboard\n'
        'for format in FORMATS:\n'
        "    assert 'matplotlib' not in sys.modules or format in ('html', 'metafile'), format\n"
        "    method = 'mae' if format == 'metafile' else None\n"
        "    write_leaderboard([sys.argv[1]], format=format, published='all', method=method)\n"
        "print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, '-c', code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == 'False True\n'
