"""COCO annotation files whose categories are not the data set's classes."""

import json

import numpy as np
import pytest
from PIL import Image

from mixae.datasets import CocoDataset
from mixae.errors import DataError

CLASSES = CocoDataset.METAINFO['classes']


@pytest.fixture
def read(tmp_path):
    """Reads an annotation file of one image, changed by a function or replaced by a text."""

    def read(change=lambda content: None, **kwargs):
        content = dict(
            images=[dict(id=7, file_name='7.jpg', width=40, height=30)],
            annotations=[
                dict(id=1, image_id=7, category_id=3, iscrowd=0, bbox=[5, 6, 20, 10], area=200)
            ],
            categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)],
        )
        path = tmp_path / 'instances.json'
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / '7.jpg')
        if not isinstance(change, str):
            change(content)
        path.write_text(change if isinstance(change, str) else json.dumps(content))
        return CocoDataset(ann_file=str(path), data_prefix=dict(img=str(tmp_path)), **kwargs)

    return read


def test_cocos_own_categories_are_its_classes(read):
    (sample,) = read().load_data_list()
    assert CLASSES[sample['instances'][0]['bbox_label']] == 'car'


def test_further_categories_are_left_out_as_in_mmdet(read):
    dataset = read(lambda c: c['categories'].insert(0, dict(id=99, name='unicorn')))
    assert dataset.load_data_list()[0]['instances'][0]['bbox_label'] == 2


def test_other_classes_are_those_of_metainfo(read):
    def rename(content):
        content['categories'] = [dict(id=1, name='digit'), dict(id=3, name='letter')]

    dataset = read(rename, metainfo=dict(classes=('digit', 'letter')))
    assert dataset.load_data_list()[0]['instances'][0]['bbox_label'] == 1


@pytest.mark.parametrize(
    'change, message',
    [
        (
            lambda c: c.update(categories=[], annotations=[]),
            r'lacks 80 of the 80 classes: person, .*: none\. Cor',
        ),
        (
            lambda c: c['categories'].pop(3),
            r'lacks 1 of .*: motorcycle\. Its categories: person, bicycle',
        ),
        (lambda c: c['categories'][0].update(name='human'), r'lacks 1 .*: person\. .*: human, '),
        (lambda c: c['categories'].reverse(), r'in another order.*: toothbrush, .*expected person'),
        (
            lambda c: c['categories'].insert(1, c['categories'].pop(2)),
            r'in another order.*: person, car, bicycle, .*expected person, bicycle, car',
        ),
        (lambda c: c['categories'].append(dict(id=99, name='car')), r'the classes twice'),
        (lambda c: c.pop('categories'), r'has no categories, only images, annotations\. Set ann_f'),
        ('[]', r'is no COCO annotation file: .*list'),
        ('{"images": [', r'is no COCO annotation file: Expecting value'),
    ],
    ids=[
        'none',
        'one missing',
        'renamed',
        'order',
        'swapped',
        'twice',
        'no list',
        'list',
        'cut',
    ],
)
def test_anything_else_is_refused_with_the_file(read, change, message):
    with pytest.raises(DataError, match=rf'instances\.json .*{message}'):
        read(change)


def test_a_text_for_classes_is_not_read_letter_by_letter(read):
    with pytest.raises(DataError, match=r"is the text 'car'.*a comma: \('car',\)"):
        read(metainfo=dict(classes=('car')))


MASKS = [dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True)]
BOXES = [dict(type='mmdet.LoadAnnotations', with_bbox=True)]


@pytest.mark.parametrize('crowd', [0, 1])
def test_masks_that_are_missing_stop_where_masks_are_loaded(read, crowd):
    def without_area(content):
        content['annotations'][0].update(iscrowd=crowd)
        content['annotations'][0].pop('area')

    with pytest.raises(
        DataError, match=r'1 of 1 annotations have no mask .*is annotation 1; masks'
    ):
        read(without_area, pipeline=MASKS)
    (sample,) = read(without_area, pipeline=BOXES).load_data_list()
    assert sample['instances'][0]['bbox'] == [5, 6, 25, 16]


def test_masks_of_other_categories_may_be_missing(read):
    def other(content):
        content['categories'].append(dict(id=99, name='unicorn'))
        content['annotations'][0].update(category_id=99)

    assert read(other, pipeline=MASKS).load_data_list()[0]['instances'] == []


def test_images_that_are_not_in_their_folder_stop(read):
    def further(content):
        content['images'] += [
            dict(id=8, file_name='8.jpg', width=40, height=30),
            dict(id=9, file_name='sub/9.jpg', width=40, height=30),
        ]

    with pytest.raises(
        DataError, match=r'2 of the 3 images of .* are not in .*8\.jpg, .*sub/9\.jpg'
    ):
        read(further)


def test_images_without_an_entry_are_counted(read, tmp_path, log):
    for name in ('8.jpg', '9.PNG'):
        Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / 'readme.txt').write_text('not an image')
    read()
    said = '\n'.join(log())
    assert f'{tmp_path}/instances.json: 2 further images in its folder have no entry' in said


def test_images_that_are_filtered_out_are_counted(read, tmp_path, log):
    def further(content):
        content['images'].append(dict(id=8, file_name='8.jpg', width=40, height=30))

    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / '8.jpg')
    assert len(read(further, filter_cfg=dict(filter_empty_gt=True))) == 1
    assert '1 of 2 images are left out by filter_cfg={' in '\n'.join(log())
    with pytest.raises(DataError, match='none of its 2 images is left after filter_cfg='):
        read(further, filter_cfg=dict(filter_empty_gt=True, min_size=99))


def test_what_is_left_out_is_counted_in_the_log(read, log):
    kinds = [
        dict(bbox=[40, 0, 5, 5]),
        dict(bbox=[-9, 0, 5, 5]),
        dict(bbox=[3, 3, 0.5, 9]),
        dict(area=0),
        dict(ignore=1),
        dict(category_id=99),
        dict(category_id=99),
        dict(category_id=1),
    ]

    def change(content):
        content['categories'].append(dict(id=99, name='unicorn'))
        first = content['annotations'][0]
        content['annotations'] += [{**first, 'id': 2 + i, **x} for i, x in enumerate(kinds)]

    dataset = read(change)
    kept = dataset.get_data_info(0)['instances']
    assert len(kept) == 2
    left, absent = log()
    assert 'annotations left out of 9: ' in left
    for count in (
        '2 outside their image',
        '2 smaller than a pixel',
        '1 marked ignore',
        '2 of other categories',
    ):
        assert count in left
    assert 'no object of 78 of the 80 classes: bicycle, motorcycle, ' in absent


def test_any_ids_give_the_same_samples(read):
    plain = read().load_data_list()

    def texts(content):
        content['images'][0]['id'] = content['annotations'][0]['image_id'] = 'seven'
        content['annotations'][0]['id'] = 'a'
        for category in content['categories']:
            category['id'] = f'c{category["id"]}'
        content['annotations'][0]['category_id'] = 'c3'

    (sample,) = read(texts).load_data_list()
    assert sample.pop('img_id') == 'seven'
    assert plain[0].pop('img_id') == 7
    assert sample == plain[0]
