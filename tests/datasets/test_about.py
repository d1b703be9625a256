"""``dataset.json`` in every state: a damaged one costs a warning, never an evaluation."""

import json
import shutil

import pytest

from mixae.datasets.about import read_about, write_about
from mixae.datasets.tiny_imagenet import prepare_tiny_imagenet
from mixae.engine import launch
from mixae.errors import DataError

DAMAGED = {
    'empty': b'',
    'cut': b'{"description": "CIFAR',
    'text': b'CIFAR-10',
    'list': b'["description"]',
    'number': b'5',
    'null': b'null',
    'true': b'true',
    'string': b'"description"',
    'description null': b'{"description": null}',
    'description a number': b'{"description": 10}',
    'description a list': b'{"description": ["CIFAR"]}',
    'description an object': b'{"description": {}}',
    'not utf-8': b'{"description": "\xff\xfe"}',
    'zeros': b'\0' * 64,
    'nested without end': b'[' * 100_000,
    'a number without end': b'{"description": ' + b'9' * 5000 + b'}',
}


@pytest.mark.parametrize('case', [*DAMAGED, 'a folder'])
def test_a_damaged_note_is_named_and_not_used(tmp_path, log, case):
    path = tmp_path / 'dataset.json'
    path.mkdir() if case == 'a folder' else path.write_bytes(DAMAGED[case])
    assert read_about(tmp_path) == {}
    (line,) = log()
    assert line.startswith(f'{path} is damaged (') and 'tools/datasets' in line


def test_a_note_is_read_as_it_was_written(tmp_path, log):
    assert read_about(tmp_path / 'nowhere') == {}
    write_about(tmp_path / 'new', description='photographs', images=dict(train=3))
    assert read_about(tmp_path / 'new') == dict(description='photographs', images=dict(train=3))
    (tmp_path / 'dataset.json').write_text('{"licence": "CC0"}')  # somebody else's
    assert read_about(tmp_path) == dict(licence='CC0')
    assert log() == []


@pytest.mark.parametrize('content', [b'[]', b'{"archive_md5": "0"}', b'{"images": 5}', b''])
def test_tiny_imagenet_beside_a_damaged_note_is_not_overwritten(tmp_path, content):
    (tmp_path / 'train').mkdir()
    (tmp_path / 'dataset.json').write_bytes(content)
    with pytest.raises(DataError, match='exist.*no Tiny-ImageNet that this tool prepared'):
        prepare_tiny_imagenet(tmp_path, md5='0')


@pytest.mark.parametrize('content, description', [('{"description": "mine"}', 'mine'), ('[', None)])
def test_an_evaluation_leaves_its_record(
    small_config, image_folder, tmp_path, content, description
):
    root = tmp_path / 'data'
    shutil.copytree(image_folder, root)
    (root / 'dataset.json').write_text(content)
    cfg = small_config('transfer/cifar/cifar10_vitt_knn.py')
    for loader in (cfg.test_dataloader, cfg.train_features):
        loader.dataset.dataset.data_root = str(root)
    cfg.data_about.description = None
    launch.test(cfg, 'scratch')
    (path,) = tmp_path.glob('run/records/*.json')
    assert json.loads(path.read_text())['dataset']['description'] == description
