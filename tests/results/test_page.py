"""The page without a browser: read by html.parser."""

import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mixae.results.compare import build_table
from mixae.results.published import load_published
from mixae.results.record import metric, portable, read_records
from mixae.results.render.html import load_images, to_html

_VOID = {'meta', 'link', 'input', 'img', 'br', 'hr'}


class _Page(HTMLParser):
    """Collects elements, texts of table cells, the data block, and checks that tags nest."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.elements, self.cells, self.data = [], [], [], ''
        self.feed(text)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if tag not in _VOID:
            self.stack.append((tag, attributes))
        if attributes.get('role') in ('cell', 'rowheader'):
            self.cells.append('')

    def handle_endtag(self, tag):
        assert self.stack.pop()[0] == tag

    def handle_data(self, text):
        if ('script', {'type': 'application/json', 'id': 'data'}) in self.stack:
            self.data += text
        elif any(attributes.get('role') in ('cell', 'rowheader') for _, attributes in self.stack):
            self.cells[-1] += text


def page_of(records, **arguments):
    return _Page(to_html(build_table(records), records, **arguments))


_NAMES = st.text(
    st.characters(codec='utf-8', exclude_categories=('Cc', 'Cs'))
    | st.sampled_from('<>&"\'/=!-`{}%#\u2028'),
    min_size=1,
    max_size=25,
).filter(lambda name: name.strip() and portable(name) == name)


@settings(deadline=None, max_examples=40)
@given(name=_NAMES | st.sampled_from(['</script><b>', '<!--<script>', '{{ 7*7 }}', '&lt;', '"><x']))
def test_values_of_records_are_escaped(make_record, name):
    record = make_record(method=name, variant={'v': name}, budget=name, notes=name)
    plain = page_of([make_record()])
    page = page_of([record], title=name)
    assert [tag for tag, _ in page.elements if tag not in ('small', 'li')] == [
        tag for tag, _ in plain.elements if tag not in ('small', 'li')
    ]
    data = json.loads(page.data)
    # The browser shows the record as it is: canonical content, no mark-up lost or added.
    assert data['records'][record['id']]['notes'] == name
    assert page.cells[0].split() == f'{name} v={name}'.split()


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
    there = json.loads(page.data)['records']
    assert there.keys() == {record['id'] for record in records}
    opened = set()
    for tag, attributes in page.elements:
        if tag == 'button' and 'data-records' in attributes:
            opened |= set(attributes['data-records'].split())
    assert opened == {record['id'] for record in records if record['task'] != 'pretrain'}


def test_a_curve_that_all_evaluations_carry_is_shown_once(make_record):
    def curves(level):
        return dict(topk=dict(x_label='', y_label='', x=[1, 2], lines=dict(a=[level, None])))

    records = [
        make_record(curves=curves(0.5), seed=7),
        make_record(curves=curves(0.5), seed=8, task='knn'),
        make_record(curves=curves(0.6), pretraining=dict(seed=1)),
    ]
    shown = json.loads(page_of(records).data)['curves']
    assert [curve['lines']['a'] for curve in shown] == [[0.5, None], [0.6, None]]
    assert [curve['run'] for curve in shown] == ['MAE, seed 0', 'MAE, seed 1']


def test_points_and_curves_are_named_by_what_tells_them_apart(make_record):
    settings = dict(mode='topk', contrast=0.1, topk=None)
    curves = dict(topk=dict(x_label='', y_label='', x=[1], lines=dict(a=[0.5])))
    records = [
        make_record(pretraining=dict(epochs=300, images_seen=300)),
        make_record(pretraining=dict(epochs=800, images_seen=800)),
        make_record(method='mixedae', variant=settings | dict(segment_embed=True), curves=curves),
        make_record(method='mixedae', variant=settings | dict(segment_embed=False)),
        make_record(method='mine', variant=settings),
    ]
    data = json.loads(page_of(records).data)
    assert {point['name'] for point in data['points']} == {
        'MAE, CIFAR-10, 300 epochs',
        'MAE, CIFAR-10, 800 epochs',
        'MixedAE, segment_embed=true',
        'MixedAE, segment_embed=false',
        'mine',
    }
    assert [curve['run'] for curve in data['curves']] == ['MixedAE, seed 0']


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
    ((_, attributes),) = [element for element in page.elements if element[0] == 'img']
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
