"""Every format: names come through as they are, and numbers with what is behind them."""

import csv
import io
import itertools
import re
import statistics
from urllib.parse import unquote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mixae.results.compare import build_table
from mixae.results.environment import portable
from mixae.results.published import load_published
from mixae.results.record import metric, read_records, write_record
from mixae.results.render.common import footnotes
from mixae.results.render.csv import to_csv
from mixae.results.render.html import to_html
from mixae.results.render.latex import escape_latex, to_latex
from mixae.results.render.markdown import to_markdown
from mixae.results.render.text import to_text
from mixae.results.table import select_published

# Any text a person could put into a name, and what formats and terminals care about.
_NASTY = st.text(
    st.characters(codec='utf-8', exclude_categories=('Cs',))
    | st.sampled_from('<>&|*_`[]{}\\$#%~^"\'!-+=@()\n\t\r\x1b\x9b\u202e\u2066\u200f\u2028'),
    min_size=1,
    max_size=25,
).filter(lambda name: name.strip() and portable(name) == name)  # a record holds no machine path


def _seen(name):
    """A name on one line, with what cannot be seen as Python spells it."""
    return ''.join(
        character if character.isprintable() else character.encode('unicode_escape').decode()
        for character in ' '.join(name.split())
    )


def _markdown_table(text):
    """The texts of a Markdown table, read by markdown-it."""
    tokens = MarkdownIt('commonmark').enable(['table', 'strikethrough']).parse(text)
    rows, inside = [], False
    for token in tokens:
        if token.type == 'tr_open':
            rows.append([])
        inside |= token.type in ('th_open', 'td_open')
        if token.type == 'inline' and inside:
            shown = ('text', 'code_inline', 'html_inline', 'text_special')
            plain = ''.join(child.content for child in token.children if child.type in shown)
            kinds = {child.type for child in token.children}
            links = [child.attrs['href'] for child in token.children if child.type == 'link_open']
            rows[-1].append((plain, kinds, links))
            inside = False
    return rows


@settings(deadline=None, max_examples=40)
@given(_NASTY)
def test_names_survive_markdown(make_record, name):
    table = build_table([make_record(method=name, variant={name: name})], columns=['linear'])
    header, row = _markdown_table(to_markdown(table))
    assert [cell[0] for cell in header] == ['Method', 'Variant', 'Linear (%)', 'Records']
    assert len(row) == 4
    assert row[0][0] == _seen(name)
    assert row[1][0] == _seen(f'{name}={name}')
    assert not row[0][1] & {'html_inline', 'link_open', 'em_open', 'strong_open', 'code_inline'}


@settings(deadline=None, max_examples=40)
@given(_NASTY)
def test_names_survive_csv(make_record, name):
    table = build_table([make_record(method=name, variant={name: name})])
    (line,) = csv.DictReader(io.StringIO(to_csv(table), newline=''))
    formula = _seen(name)[0] in '=+-@＝＋－＠'
    assert line['method'] == formula * "'" + _seen(name)
    assert line['variant'].startswith('{') and line['variant'].isprintable()
    assert None not in line, 'no stray field'


def test_csv_keeps_negative_numbers_and_quotes_what_spreadsheets_would_compute(make_record):
    metrics = {'aft/r2': metric(-0.25, ''), 'aft/nrmse': metric(0.5, '', False)}
    records = [
        make_record(task='separability', metrics=metrics, method=method)
        for method in ('mae', '=cmd|calc!A1', '\t+1', '@sum')
    ]
    lines = list(csv.DictReader(io.StringIO(to_csv(build_table(records)), newline='')))
    assert {line['method'] for line in lines} == {'mae', "'=cmd|calc!A1", "'+1", "'@sum"}
    assert {float(line['R² after']) for line in lines} == {-0.25}
    assert "'+" not in to_csv(build_table([], load_published())), 'differences from MAE are texts'


def _latex_reader(text):
    """The plain text of a LaTeX fragment; fails on anything that would not print as itself."""
    words = dict(
        textbackslash='\\', textasciitilde='~', textasciicircum='^', textless='<',
        textgreater='>', textbar='|', textquotedbl='"', pm='±', times='×', dagger='†', Delta='Δ',
    )  # fmt: skip
    out, depth = [], 0
    for token in re.findall(r'\\[A-Za-z]+(?:\{\})?|\\.|.', text):
        if token in '{}' or token == '$':
            depth += {'{': 1, '}': -1, '$': 0}[token]
            assert depth >= 0
        elif len(token) > 2 and token[0] == '\\':
            out.append(words[token[1:].removesuffix('{}')])
        elif token[0] == '\\':
            assert token[1] in '{}$&#_%', token
            out.append(token[1])
        else:
            assert token not in '\\{}$&#_%~^', token
            out.append(token)
    assert depth == 0
    return ''.join(out)


@settings(deadline=None, max_examples=40)
@given(_NASTY)
def test_names_survive_latex(name):
    assert _latex_reader(escape_latex(name)) == _seen(name)


@settings(deadline=None, max_examples=40)
@given(_NASTY)
def test_latex_table_keeps_its_shape(make_record, name):
    text = to_latex(build_table([make_record(method=name)], columns=['linear', 'time']))
    body = text.split('\\midrule\n')[1].split('\\bottomrule')[0].splitlines()
    rows = [line for line in body if not line.startswith('%')]
    assert len(rows) == 1
    assert len(re.findall(r'(?<!\\)&', rows[0])) == 2
    assert rows[0].endswith('\\\\')


def test_csv_has_full_precision_and_ids(make_record):
    records = [make_record(value=value, seed=seed) for seed, value in enumerate([1 / 3, 2 / 3])]
    (line,) = csv.DictReader(io.StringIO(to_csv(build_table(records)), newline=''))
    assert float(line['Linear (%)']) == statistics.fmean([1 / 3, 2 / 3])
    assert float(line['Linear (%) std']) == statistics.stdev([1 / 3, 2 / 3])
    assert line['Linear (%) n'] == '2'
    assert line['Linear (%) records'].split() == [record['id'] for record in records]
    assert float(line['Pre-training time (s)']) == 400


def test_every_measured_cell_leads_to_its_records_and_a_row_has_one_link(make_record, tmp_path):
    folder = tmp_path / 'runs of (mine) & more'
    for task, seed in itertools.product(['linear', 'knn'], range(2)):
        write_record(make_record(task=task, seed=seed), folder / f'seed {seed}' / task)
    records = read_records(folder)
    table = build_table(
        records, select_published(load_published(), records), columns=['linear', 'knn']
    )
    out = tmp_path / 'docs'
    out.mkdir()
    text = to_markdown(table, base=out)
    _, row, *published = _markdown_table(text)
    assert (out / unquote(row[-1][2][0])).resolve() == folder
    assert row[-1][0] == '4'
    for line in (row, *published):
        assert sum(len(cell[2]) for cell in line) == 1
    # Below the table: each cell's records by their ids, each a link to its file.
    tokens = MarkdownIt('commonmark').parse(text)
    (told,) = [t for t in tokens if t.type == 'inline' and t.content.startswith('MAE: Linear [')]
    found, column = {}, ''
    for token in told.children:
        if token.type == 'text' and token.content.strip(' ;:').split(' ')[-1] in ('Linear', 'kNN'):
            column = token.content.split()[-1].lower()
        if token.type == 'link_open':
            path = (out / unquote(token.attrs['href'])).resolve()
            found.setdefault(column, set()).add(path)
    for task in ('linear', 'knn'):
        assert found[task] == {record.path for record in records if record['task'] == task}
        assert len(found[task]) == 2


def test_rows_of_a_whole_suite_are_short(demo_folder):
    columns = ['finetune', 'linear', 'knn', 'miou', 'box_ap', 'images_seen', 'flops']
    text = to_markdown(build_table(read_records(demo_folder), columns=columns), base=demo_folder)
    assert max(len(line) for line in text.splitlines() if line.startswith('| ')) < 300


@settings(deadline=None, max_examples=40)
@given(_NASTY)
def test_names_survive_the_terminal(make_record, name):
    assume(name != 'none')  # how a table says that there is nothing, and leaves it out
    text = to_text(build_table([make_record(method=name)], columns=['linear']), width=250)
    assert '50.00' in text
    assert all(line.isprintable() for line in text.splitlines())
    if name.isascii():  # others have widths of their own
        assert _seen(name) in text


@pytest.mark.parametrize('width', range(60, 121, 5))
def test_a_name_stays_whole_beside_many_columns(make_record, width):
    record = make_record(method='noisy_mae', variant=dict(noise=0.5))
    columns = ['linear', 'time', 'device_hours', 'images_seen', 'flops']
    text = to_text(build_table([record], columns=columns), width=width)
    assert 'noisy_mae' in text and 'noise=0.5' in text
    assert all(len(line) <= width for line in text.splitlines())


@pytest.mark.parametrize('width', [60, 100, 200])
def test_a_terminal_shows_every_number_at_any_width(demo_folder, width):
    table = build_table(read_records(demo_folder))
    text = to_text(table, width=width)
    assert all(len(line) <= width for line in text.splitlines())
    for row in table.rows:
        for cell in row.cells.values():
            if cell.std is not None:
                assert f'{cell.mean:.2f} ± {cell.std:.2f}' in text
    assert 'Backbone: vit-micro/8, 64 px' in text, 'what all rows share is said once'


def test_best_and_second_best_in_each_format(make_runs):
    named = zip(('mae', 'mixedae', 'ours'), (50, 52, 51), range(3), strict=True)
    runs = [run for name, value, shift in named for run in make_runs(value, shift, method=name)]
    table = build_table(runs, columns=['linear'])
    rows = _markdown_table(to_markdown(table))[1:]
    marks = {row[0][0]: row[1][1] & {'strong_open', 'em_open'} for row in rows}
    assert marks == {'MAE': set(), 'MixedAE': {'strong_open'}, 'ours': {'em_open'}}
    text = to_text(table, width=150)
    assert '* 52.00' in text and '+ 51.00' in text and '*: best' in text
    latex = to_latex(table)
    assert '\\textbf{52.00 $\\pm$ 0.03 ($\\Delta$ +2.00 $\\pm$ 0.11)}' in latex
    assert '\\underline{51.00 ' in latex
    lines = list(csv.DictReader(io.StringIO(to_csv(table), newline='')))
    assert [line['Linear (%) rank'] for line in lines] == ['', '1', '2']
    low, high = (float(lines[1][f'Linear (%) delta {end}']) for end in ('low', 'high'))
    assert (low, high) == pytest.approx((1.88616, 2.11384), abs=1e-5)


def test_what_is_not_separable_in_each_format(make_runs):
    runs = make_runs(50) + make_runs(50.01, 1, method='mixedae')
    table = build_table(runs, columns=['linear'])
    assert [row[1][0][:7] for row in _markdown_table(to_markdown(table))[1:]] == [
        '≈ 50.00',
        '≈ 50.01',
    ]
    assert '≈ 50.01' in to_text(table, width=150)
    assert '$\\approx$ 50.01 $\\pm$' in to_latex(table)
    first, second = csv.DictReader(io.StringIO(to_csv(table), newline=''))
    assert {line['Linear (%) rank'] for line in (first, second)} == {'not separable'}
    needed = first['Linear (%) seeds needed']
    assert int(needed) > 3 and second['Linear (%) seeds needed'] == ''
    why = f'not separable: +0.01 [-0.10, +0.12] over 3 seeds; about {needed} seeds would settle it.'
    for text in (to_text(table, width=250), to_html(table)):
        assert why in text and 'holds zero' in text
    assert '<small>≈ not separable</small>' in to_html(table)


def test_one_seed_says_so_in_each_format(make_record):
    table = build_table([make_record(), make_record(method='mixedae')], columns=['linear'])
    for text in (to_markdown(table), to_text(table, 250), to_latex(table), to_html(table)):
        assert 'One seed: nothing is ranked' in text
        assert '≈' not in text and '**' not in text and 'textbf' not in text
    lines = csv.DictReader(io.StringIO(to_csv(table), newline=''))
    assert {line['Linear (%) rank'] for line in lines} == {''}


def test_labels_are_marked(make_record):
    record = make_record(method='imae', pretraining=dict(labels_in_pretraining=True))
    table = build_table([record], columns=['linear'])
    assert _markdown_table(to_markdown(table))[1][0][0] == 'i-MAE †'
    assert any('labels were used' in note for note in footnotes(table))
