"""COCO annotation files whose categories are not the data set's classes."""

import json

import pytest

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
        if not isinstance(change, str):
            change(content)
        path.write_text(change if isinstance(change, str) else json.dumps(content))
        return CocoDataset(ann_file=str(path), data_prefix=dict(img=''), **kwargs)

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
        (lambda c: c.update(categories=[]), r'lacks 80 of the 80 classes: person, .*: none\. Cor'),
        (lambda c: c['categories'].pop(2), r'lacks 1 of .*: car\. Its categories: person, bicycle'),
        (lambda c: c['categories'][0].update(name='human'), r'lacks 1 .*: person\. .*: human, '),
        (lambda c: c['categories'][0].pop('name'), r'lacks 1 .*: person\. '),
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
        'no name',
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
