"""The page without a browser: read by html.parser."""

import base64
import json
import re
import zlib
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mixae.results.compare import build_table
from mixae.results.environment import portable
from mixae.results.names import COLUMNS
from mixae.results.published import load_published
from mixae.results.record import metric, read_records
from mixae.results.render.charts import cost_charts, curve_charts
from mixae.results.render.html import load_images, to_html

_VOID = {'meta', 'link', 'input', 'img', 'source'}


class _Page(HTMLParser):
    """Collects elements, texts of table cells, the records, and checks that tags nest."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.elements, self.cells, self.data = [], [], [], ''
        self.feed(text)
        self.close()
        assert not self.stack
        self.records = json.loads(zlib.decompress(base64.b64decode(self.data)))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if tag not in _VOID:
            self.stack.append((tag, attributes))
        if tag == 'td' or attributes.get('scope') == 'row':
            self.cells.append('')

    def handle_endtag(self, tag):
        assert self.stack.pop()[0] == tag

    def handle_data(self, text):
        if any(attributes.get('id') == 'packed-records' for _, attributes in self.stack):
            self.data += text
        elif any(tag == 'td' or a.get('scope') == 'row' for tag, a in self.stack):
            self.cells[-1] += text


def page_of(records, columns=tuple(COLUMNS), **arguments):
    return _Page(to_html(build_table(records, columns=columns), records, **arguments))


_NAMES = st.text(
    st.characters(codec='utf-8', exclude_categories=('Cs',))
    | st.sampled_from('<>&"\'/=!-`{}%#\u2028\x1b\u202e'),
    min_size=1,
    max_size=25,
).filter(lambda name: name.strip() and portable(name) == name)


def _seen(text):
    return ''.join(
        character if character.isprintable() or character in '\n\t' else ascii(character)[1:-1]
        for character in text
    )


@settings(deadline=None, max_examples=40)
@given(name=_NAMES | st.sampled_from(['</script><b>', '<!--<script>', '{{ 7*7 }}', '&lt;', '"><x']))
def test_values_of_records_are_escaped(make_record, name):
    record = make_record(method=name, variant={'v': name}, budget=name, notes=name)
    plain = page_of([make_record()], ['linear'])
    page = page_of([record], ['linear'], title=name)
    assert [tag for tag, _ in page.elements if tag not in ('small', 'li')] == [
        tag for tag, _ in plain.elements if tag not in ('small', 'li')
    ]
    # The browser shows the record as it is, no mark-up lost or added, and nothing that is obeyed.
    assert page.records[record['id']]['notes'] == _seen(name)
    assert page.cells[0].split() == _seen(f'{name} v={name}').split()


def test_nothing_is_loaded_from_elsewhere(demo_folder):
    records = read_records(demo_folder)
    page = _Page(to_html(build_table(records, load_published()), records))
    for tag, attributes in page.elements:
        assert tag not in ('iframe', 'object', 'embed', 'base')
        for name in ('src', 'href', 'srcset', 'action'):
            value = attributes.get(name, '')
            if tag == 'a' and name == 'href':  # a link that a person may follow
                assert value.startswith(('https://', '#'))
            else:
                assert value == '' or value.startswith('data:')
        assert not [name for name in attributes if name.startswith('on')]


def test_every_measured_cell_opens_its_records(demo_folder):
    records = read_records(demo_folder)
    page = page_of(records)
    assert page.records.keys() == {record['id'] for record in records}
    opened = set()
    for tag, attributes in page.elements:
        if tag == 'button' and 'data-records' in attributes:
            opened |= set(attributes['data-records'].split())
    assert opened == {record['id'] for record in records if record['task'] != 'pretrain'}


def _texts_of(uri):
    """The texts of an SVG in a data URI."""
    kind, data = uri.split(';base64,')
    assert kind == 'data:image/svg+xml'
    root = ElementTree.fromstring(base64.b64decode(data))
    return [element.text for element in root.iter('{http://www.w3.org/2000/svg}text')]


def _curves(level):
    return dict(topk=dict(x_label='step', y_label='', x=[1, 2], lines=dict(a=[level, None])))


def test_a_curve_that_all_evaluations_carry_is_drawn_once(make_record):
    records = [
        make_record(curves=_curves(0.5), seed=7),
        make_record(curves=_curves(0.5), seed=8, task='knn'),
        make_record(curves=_curves(0.6), pretraining=dict(seed=1)),
        make_record(curves=_curves(0.7), method='<&$x$'),
    ]
    charts, count = curve_charts(records)
    assert [chart.caption for chart in charts] == ['topk: MAE (2 runs)', 'topk: <&$x$']
    assert count == 2
    assert {'a', 'step'} <= set(_texts_of(charts[0].light))


def test_charts_name_their_series_by_what_tells_rows_apart(make_record):
    def run(method, value, epochs=300, **variant):
        cost = dict(epochs=epochs, images_seen=epochs * 1000, flops=None)
        return make_record(method=method, value=value, variant=variant, pretraining=cost)

    records = [run('mae', 50), run('mae', 55, epochs=800), run('mixedae', 53, noise='<b>$x$</b>')]
    (chart,) = cost_charts(build_table(records))
    assert chart.caption.startswith('Linear (%) against Images seen. Higher and further left')
    texts = _texts_of(chart.light)
    assert {'MAE', 'MixedAE, noise=<b>$x$</b>', 'Images seen', 'Linear (%)'} <= set(texts)
    assert _texts_of(chart.dark) == texts and chart.dark != chart.light


def test_a_chart_says_that_lower_is_better(make_record):
    metrics = {'aft/nrmse': metric(0.2, '', False)}
    records = [make_record(task='separability', metrics=metrics)]
    captions = [chart.caption for chart in cost_charts(build_table(records))]
    assert len(captions) == 2, 'images seen and FLOPs'
    assert all('Lower and further left is better' in caption for caption in captions)


def test_columns_of_one_task_are_one_filter(make_record):
    metrics = {'coco/bbox_mAP': metric(0.3, 'fraction'), 'coco/segm_mAP': metric(0.2, 'fraction')}
    records = [make_record(task='instance', metrics=metrics), make_record()]
    html = to_html(build_table(records), records)
    (task,) = re.findall(r'<select id="filter-task">(.*?)</select>', html)
    assert re.findall(r'<option>(.*?)</option>', task) == [
        'Linear probe', 'Detection, instance segmentation',
    ]  # fmt: skip


def test_pictures_are_part_of_the_file(tmp_path, make_record):
    Image.new('RGB', (4, 2), 'red').save(tmp_path / 'mixed_input.png')
    (tmp_path / 'log.txt').write_text('not a picture')
    page = page_of([make_record()], images=load_images([tmp_path]))
    images = [attributes for tag, attributes in page.elements if tag == 'img']
    (attributes,) = [image for image in images if not image['alt'].startswith('Chart: ')]
    assert attributes['alt'] == 'mixed input'
    assert attributes['src'].startswith('data:image/png;base64,')


def test_pictures_that_are_not_there_are_named(tmp_path):
    with pytest.raises(ValueError, match='no such picture'):
        load_images([tmp_path / 'x.png'])
    with pytest.raises(ValueError, match='no picture'):
        load_images([tmp_path])
    (tmp_path / 'a.txt').write_text('')
    with pytest.raises(ValueError, match='expected a picture'):
        load_images([tmp_path / 'a.txt'])
    (tmp_path / 'b.png').mkdir()
    with pytest.raises(ValueError, match='b.png: cannot be read'):
        load_images([tmp_path])
