"""COCO annotation files that are wrong, each named in one line before anything is trained."""

import copy
import json

import numpy as np
import pycocotools.mask as mask_utils
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixae.datasets.coco_file import _decode, read_coco
from mixae.errors import DataError

SQUARE = [5, 6, 25, 6, 25, 16, 5, 16]
GOOD = dict(
    images=[
        dict(id=7, file_name='7.jpg', width=40, height=30),
        dict(id=8, file_name='8.jpg', width=32, height=32),
    ],
    annotations=[
        dict(
            id=1,
            image_id=7,
            category_id=3,
            iscrowd=0,
            bbox=[5, 6, 20, 10],
            area=200,
            segmentation=[SQUARE],
        ),
        dict(
            id=2,
            image_id=8,
            category_id=4,
            iscrowd=1,
            bbox=[0, 0, 32, 16],
            area=512,
            segmentation=dict(size=[32, 32], counts=[0, 512, 512]),
        ),
    ],
    categories=[dict(id=3, name='square'), dict(id=4, name='disc')],
)


@pytest.fixture
def read(tmp_path):
    """Reads the good file after a change, or a text in its place."""

    def read(change=lambda content: None):
        path = tmp_path / 'instances.json'
        if isinstance(change, str | bytes):
            path.write_bytes(change if isinstance(change, bytes) else change.encode())
        else:
            content = copy.deepcopy(GOOD)
            change(content)
            path.write_text(json.dumps(content))
        return read_coco(str(path))

    return read


def put(table, key, value, entry=0):
    """A change that sets one key; without a value it is taken away."""

    def change(content):
        content[table][entry][key] = value

    return change


def drop(table, key, entry=0):
    return lambda content: content[table][entry].pop(key)


def ann(key, value, entry=0):
    return put('annotations', key, value, entry)


def run_lengths(**changes):
    return ann('segmentation', dict(dict(size=[32, 32], counts=[0, 512, 512]), **changes), 1)


TEXTS = {
    'empty': ('', 'is no COCO annotation file: Expecting value'),
    'cut': (json.dumps(GOOD)[:-40], 'is no COCO annotation file'),
    'no json': ('<xml>', 'is no COCO annotation file: Expecting value'),
    'not utf-8': (b'{"images": "\xff\xfe"}', "is no COCO annotation file: 'utf-8' codec"),
    'nested without end': ('[' * 100_000, 'is no COCO annotation file: .*recursion'),
    'a list': ('[]', 'it is a list, not an object'),
    'a number': ('3', 'it is a int, not an object'),
    'null': ('null', 'it is a NoneType, not an object'),
    'no images': ('{"categories": []}', 'it has no images, only categories'),
    'nothing': ('{}', 'it has no images and no categories, only nothing'),
    'NaN': (json.dumps(GOOD).replace('[5, 6, 20, 10]', '[NaN, 6, 20, 10]'), 'it holds NaN'),
    'Infinity': (
        json.dumps(GOOD).replace('[5, 6, 20, 10]', '[5, 6, Infinity, 10]'),
        'it holds Infinity, which is no number of JSON',
    ),
    '-Infinity': (json.dumps(GOOD).replace('"area": 200', '"area": -Infinity'), '-Infinity'),
    'more than a float': (
        json.dumps(GOOD).replace('[5, 6, 20, 10]', '[5, 6, 1e999, 10]'),
        r'annotation 1: bbox is \[5, 6, inf, 10\]; expected four finite numbers',
    ),
    'polygon of 1e999': (
        json.dumps(GOOD).replace('[5, 6, 25, 6', '[5, 1e999, 25, 6'),
        'annotation 1: segmentation is .*expected polygons in or near their image of 40x30',
    ),
    'area of 1e999': (
        json.dumps(GOOD).replace('"area": 200', '"area": 1e999'),
        'annotation 1: area is inf; expected a finite number',
    ),
}
WRONG = {
    'images an object': (lambda c: c.update(images={}), 'images is {}, not a list of objects'),
    'images null': (lambda c: c.update(images=None), 'images is None, not a list'),
    'images empty': (lambda c: c.update(images=[]), 'has no images'),
    'image a number': (lambda c: c['images'].append(5), 'images is .*not a list of objects'),
    'annotations a text': (lambda c: c.update(annotations='x'), "annotations is 'x', not a list"),
    'annotation a list': (lambda c: c['annotations'].append([]), 'annotations is .*not a list of'),
    'categories null': (lambda c: c.update(categories=None), 'categories is None, not a list'),
    'category a text': (lambda c: c['categories'].append('car'), 'categories is .*not a list of'),
    'image without id': (drop('images', 'id'), 'image number 1: id is missing'),
    'image id null': (put('images', 'id', None), 'image None: id is None; expected a number or'),
    'image id a list': (put('images', 'id', [7]), r'id is \[7\]; expected a number or a text'),
    'image id true': (put('images', 'id', True), 'id is True; expected a number or a text'),
    'image id twice': (put('images', 'id', 7, 1), 'image 7: id is 7; expected an id that no other'),
    'no file name': (drop('images', 'file_name'), 'image 7: file_name is missing'),
    'file name a number': (put('images', 'file_name', 7), 'image 7: file_name is 7; expected the'),
    'no width': (drop('images', 'width'), 'image 7: width is missing; expected a number of pixels'),
    'width a text': (put('images', 'width', '40'), "image 7: width is '40'; expected a number"),
    'height null': (put('images', 'height', None), 'image 7: height is None; expected a number'),
    'height 0': (put('images', 'height', 0), 'image 7: height is 0; expected .* from 1 to'),
    'height negative': (put('images', 'height', -30), 'image 7: height is -30; expected'),
    'height 30.5': (put('images', 'height', 30.5), 'image 7: height is 30.5; expected'),
    'width of a billion': (put('images', 'width', 10**9), 'image 7: width is 1000000000; expected'),
    'width beyond float': (put('images', 'width', 10**400), 'image 7: width is 1000.*; expected'),
    'category without id': (drop('categories', 'id'), 'category number 1: id is missing'),
    'category id null': (put('categories', 'id', None), 'id is None; expected a number or a text'),
    'category id twice': (
        put('categories', 'id', 3, 1),
        'category 3: id is 3; .* no other category',
    ),
    'category without name': (
        drop('categories', 'name'),
        'category 3: name is missing; expected a',
    ),
    'category name a number': (
        put('categories', 'name', 5),
        'category 3: name is 5; expected a text',
    ),
    'annotation without id': (drop('annotations', 'id'), 'annotation number 1: id is missing'),
    'annotation id null': (ann('id', None), 'annotation None: id is None; expected a number or'),
    'annotation id an object': (ann('id', {}), 'id is {}; expected a number or a text'),
    'annotation id twice': (ann('id', 1, 1), 'annotation 1: id is 1; expected an id that no other'),
    'no image_id': (drop('annotations', 'image_id'), 'annotation 1: image_id is missing'),
    'image_id unknown': (
        ann('image_id', 9),
        'annotation 1: image_id is 9; expected the id of one of the 2 image entries, such as 7',
    ),
    'image_id a text': (ann('image_id', '7'), "annotation 1: image_id is '7'; expected the id of"),
    'image_id null': (ann('image_id', None), 'annotation 1: image_id is None; expected the id'),
    'image_id a list': (ann('image_id', [7]), r'annotation 1: image_id is \[7\]; expected the id'),
    'no category_id': (drop('annotations', 'category_id'), 'annotation 1: category_id is missing'),
    'category_id unknown': (
        ann('category_id', 99),
        'annotation 1: category_id is 99; expected the id of one of the 2 category entries',
    ),
    'category_id a name': (
        ann('category_id', 'square'),
        "category_id is 'square'; expected the id",
    ),
    'category_id from 0': (ann('category_id', 0), 'annotation 1: category_id is 0; expected the'),
    'no bbox': (drop('annotations', 'bbox'), 'annotation 1: bbox is missing; expected four finite'),
    'bbox null': (ann('bbox', None), 'annotation 1: bbox is None; expected four finite numbers'),
    'bbox a text': (ann('bbox', '5 6 20 10'), "annotation 1: bbox is '5 6 20 10'; expected four"),
    'bbox an object': (ann('bbox', dict(x=5)), "bbox is {'x': 5}; expected four"),
    'bbox of 3': (ann('bbox', [5, 6, 20]), r'annotation 1: bbox is \[5, 6, 20\]; expected four'),
    'bbox of 5': (ann('bbox', [5, 6, 20, 10, 1]), 'annotation 1: bbox is .*; expected four'),
    'bbox empty': (ann('bbox', []), r'annotation 1: bbox is \[\]; expected four'),
    'bbox nested': (ann('bbox', [[5, 6], [20, 10]]), 'annotation 1: bbox is .*; expected four'),
    'bbox of texts': (ann('bbox', ['5', '6', '20', '10']), 'annotation 1: bbox is .*; expected'),
    'bbox of null': (ann('bbox', [5, None, 20, 10]), 'annotation 1: bbox is .*None.*; expected'),
    'bbox of true': (ann('bbox', [5, 6, True, 10]), 'annotation 1: bbox is .*True.*; expected'),
    'bbox beyond float': (ann('bbox', [5, 6, 10**400, 10]), 'annotation 1: bbox is .*; expected'),
    'bbox negative': (ann('bbox', [25, 16, -20, -10]), 'bbox is .*the last two not negative'),
    'bbox of the second': (ann('bbox', [0, 0, -1, 3], 1), 'annotation 2: bbox is'),
    'area a text': (ann('area', '200'), "annotation 1: area is '200'; expected a finite number"),
    'area negative': (ann('area', -200), 'annotation 1: area is -200; expected .*not negative'),
    'area a list': (ann('area', [200]), r'annotation 1: area is \[200\]; expected a finite'),
    'iscrowd 2': (ann('iscrowd', 2), 'annotation 1: iscrowd is 2; expected 0 or 1'),
    'iscrowd a text': (ann('iscrowd', 'no'), "annotation 1: iscrowd is 'no'; expected 0 or 1"),
    'iscrowd null': (ann('iscrowd', None), 'annotation 1: iscrowd is None; expected 0 or 1'),
    'segmentation flat': (ann('segmentation', SQUARE), 'segmentation is .*a list of polygons'),
    'segmentation a text': (ann('segmentation', 'x'), "segmentation is 'x'; expected a list of"),
    'segmentation a number': (ann('segmentation', 5), 'segmentation is 5; expected a list of'),
    'polygon of pairs': (
        ann('segmentation', [[[5, 6], [25, 6], [25, 16]]]),
        'annotation 1: segmentation is .*expected a list of polygons',
    ),
    'polygon of texts': (ann('segmentation', [list('567890')]), 'annotation 1: segmentation is'),
    'polygon of null': (ann('segmentation', [[5, 6, None, 6, 25, 16]]), 'annotation 1: segmentati'),
    'polygon far away': (
        ann('segmentation', [[5, 6, 1e12, 6, 25, 16]]),
        'annotation 1: segmentation is .*expected polygons in or near their image of 40x30',
    ),
    'polygon beyond float': (ann('segmentation', [[5, 6, 10**400, 6, 25, 16]]), 'in or near their'),
    'run lengths of another size': (run_lengths(size=[30, 40]), r'annotation 2: .*size \[32, 32\]'),
    'run lengths without size': (ann('segmentation', dict(counts=[0, 9]), 1), 'annotation 2: segm'),
    'run lengths without counts': (ann('segmentation', dict(size=[32, 32]), 1), 'add up to its'),
    'run lengths too short': (run_lengths(counts=[0, 512]), 'counts add up to its pixels'),
    'run lengths too long': (run_lengths(counts=[0, 512, 513]), 'counts add up to its pixels'),
    'run lengths negative': (run_lengths(counts=[0, 1025, -1]), 'counts add up to its pixels'),
    'run lengths of texts': (run_lengths(counts=['0', '1024']), 'counts add up to its pixels'),
    'run lengths null': (run_lengths(counts=None), 'counts add up to its pixels'),
    'size of texts': (run_lengths(size=['32', '32']), r'annotation 2: .*size \[32, 32\]'),
    'size of 3': (run_lengths(size=[32, 32, 1]), r'annotation 2: .*size \[32, 32\]'),
    'compressed and damaged': (run_lengths(counts='0Pooo'), 'counts add up to its pixels'),
    'compressed and empty': (run_lengths(counts=''), 'counts add up to its pixels'),
    'compressed beyond ASCII': (run_lengths(counts='äö'), 'counts add up to its pixels'),
}


@pytest.mark.parametrize('case', [*TEXTS, *WRONG])
def test_what_is_wrong_is_named_in_one_line(read, case):
    change, message = {**TEXTS, **WRONG}[case]
    with pytest.raises(DataError, match=rf'instances\.json.*{message}') as caught:
        read(change)
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 500


def test_a_good_file_stays_as_it_is(read):
    assert read() == GOOD
    assert read(b'\xef\xbb\xbf' + json.dumps(GOOD).encode()) == GOOD  # as Windows writes it


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(DataError, match=r'none\.json cannot be read: No such file'):
        read_coco(str(tmp_path / 'none.json'))
    with pytest.raises(DataError, match='cannot be read: Is a directory'):
        read_coco(str(tmp_path))


def test_a_test_split_has_no_annotations(read):
    content = read(lambda content: content.pop('annotations'))
    assert content['annotations'] == []


def test_whole_numbers_may_be_written_as_floats(read):
    content = read(put('images', 'width', 40.0))
    assert content == GOOD and isinstance(content['images'][0]['width'], int)


@pytest.mark.parametrize('gone', [None, 'missing', 'empty', 'no polygon'])
def test_area_is_the_masks_or_the_boxes_where_there_is_none(read, gone):
    def change(content):
        for annotation in content['annotations']:
            annotation.pop('area')
            annotation['bbox'][2] += 1  # the box is no measure of the mask
            if gone == 'missing':
                annotation.pop('segmentation')
            elif gone is not None:
                annotation['segmentation'] = [] if gone == 'empty' else [[1, 2, 3, 4]]

    content = read(change)
    areas = [annotation['area'] for annotation in content['annotations']]
    assert areas == ([200, 512] if gone is None else [210, 528])
    assert all(('segmentation' in a) == (gone is None) for a in content['annotations'])


def test_area_of_compressed_run_lengths(read):
    mask = np.zeros((32, 32), np.uint8, order='F')
    mask[3:9, 4:20] = 1
    rle = mask_utils.encode(mask)

    def change(content):
        content['annotations'][1]['segmentation'] = dict(
            size=[32, 32], counts=rle['counts'].decode()
        )
        content['annotations'][1]['area'] = None

    assert read(change)['annotations'][1]['area'] == mask.sum()


def test_polygons_that_enclose_nothing_are_taken_out(read):
    polygons = [[1, 2], SQUARE, [1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6, 7], []]
    content = read(ann('segmentation', polygons))
    assert content['annotations'][0]['segmentation'] == [SQUARE]


def test_iscrowd_is_0_where_it_is_missing(read):
    content = read(drop('annotations', 'iscrowd'))
    assert content['annotations'][0]['iscrowd'] == 0
    assert read(ann('iscrowd', True))['annotations'][0]['iscrowd'] == 1


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_run_lengths_are_decoded_as_cocoapi_encodes_them(data):
    height, width = (data.draw(st.integers(1, 40)) for _ in range(2))
    seed = data.draw(st.integers(0, 2**32 - 1))
    share = data.draw(st.floats(0, 1))
    mask = np.random.default_rng(seed).random((height, width)) < share
    counts = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))['counts']
    # Runs of 0 and 1 in turn, down the columns, the first of 0.
    pixels = mask.ravel(order='F').astype(int)
    changes = np.flatnonzero(np.diff(np.concatenate([[0], pixels])))
    assert _decode(counts.decode()) == np.diff([0, *changes, pixels.size]).tolist()
