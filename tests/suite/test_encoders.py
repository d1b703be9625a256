"""Encoders of others as rows: what they start from, and what their records and tables say."""

import json

import pytest
import timm
import torch

from mixae.engine import launch
from mixae.errors import ConfigError, MixaeError, SuiteError
from mixae.files import file_sha256
from mixae.registry import MODELS
from mixae.results.record import read_record
from mixae.results.write import write_leaderboard
from mixae.suite.evaluate import describe
from mixae.suite.plan import load_suite

SMALL = dict(embed_dim=24, depth=2, num_heads=2)
SUITE = """
columns = ['knn']
encoders = dict(
    dino=dict(
        title='DINO', model='vit_tiny_patch16_224', checkpoint='{path}', part='teacher',
        card=dict(method='DINO', labels=False),
    ),
    ours=dict(checkpoint='x.pth'),
)
evaluate = dict(
    knn=dict(tool='test', config='configs/transfer/digit_scenes/vitmini_knn.py', only={only}),
)
"""


def write(tmp_path, text=SUITE, only=('dino', 'ours'), **more):
    path = tmp_path / 'suite.py'
    path.write_text(text.format(path='some/file.pth', only=list(only), **more))
    return path


def test_an_encoder_is_a_row_that_starts_from_its_file(tmp_path):
    plan = load_suite(write(tmp_path)).plan
    assert [run.name for run in plan] == ['dino_seed0/knn', 'ours_seed0/knn']
    dino, ours = plan
    assert dino.start == 'file:some/file.pth' and dino.needs == () and dino.is_evaluation
    backbone = dino.config().model.backbone
    assert backbone.type == 'mixae.TimmEncoder' and backbone.pretrained_part == 'teacher'
    # What the protocol says of the encoder stays; the architecture is its own.
    assert backbone.frozen and backbone.out_type == 'raw' and backbone.img_size == 64
    assert 'arch' not in backbone and 'patch_size' not in backbone
    assert dino.config().encoder_card == dict(method='DINO', labels=False)
    assert ours.config().model.backbone.type == 'mixae.MaskedViT'


@pytest.mark.parametrize(
    'old, new, match',
    [
        ("checkpoint='x.pth'", "title='x'", 'a model of timm, a checkpoint, or both'),
        ("part='teacher'", 'parts=1', "unknown \\['parts'\\]"),
        ("'ours']", "'others']", "only=\\['others'\\] are no rows"),
    ],
)
def test_mistakes_in_encoders(tmp_path, old, new, match):
    path = write(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(SuiteError, match=match):
        load_suite(path)


def test_released_encoders_are_models_of_timm():
    plan = load_suite('configs/suites/released.py').plan
    models = {run.config().model.backbone.model for run in plan}
    assert len(models) == 11
    for name in models:
        architecture, _, tag = name.partition('.')
        assert timm.is_model(architecture)
        assert not tag or name in timm.list_pretrained(f'{architecture}.*')


def test_records_name_the_weights_and_tables_rank_labels_apart(small_config, tmp_path):
    torch.manual_seed(0)
    model = timm.create_model('vit_tiny_patch16_224', num_classes=0, img_size=32, **SMALL)
    paths = []
    for name, card in (
        ('free', dict(method='DINO', dataset='ImageNet-1K', epochs=300, labels=False)),
        ('labels', dict(method='AugReg', dataset='ImageNet-21K', labels=True)),
        ('unknown', None),
    ):
        checkpoint = tmp_path / f'{name}.pth'
        torch.save(dict(model=model.state_dict()), checkpoint)
        cfg = small_config('transfer/cifar/cifar10_vitt_knn.py', work_dir=tmp_path / name)
        backbone = dict(type='mixae.TimmEncoder', model='vit_tiny_patch16_224', model_args=SMALL)
        backbone |= dict(img_size=32, frozen=True, pretrained='auto', out_type='raw')
        cfg.model.backbone = backbone
        if card:
            cfg.encoder_card = card
        launch.test(cfg, str(checkpoint))
        (path,) = (tmp_path / name / 'records').glob('*.json')
        paths.append(path)
    free, labels, unknown = (read_record(path) for path in paths)
    assert free['method'] == 'DINO' and unknown['method'] == 'unknown'
    told = [r['pretraining']['labels_in_pretraining'] for r in (free, labels, unknown)]
    assert told == [False, True, None]
    assert free['pretraining']['epochs'] == 300 and unknown['pretraining']['dataset'] == 'unknown'
    for record, name in ((free, 'free'), (labels, 'labels'), (unknown, 'unknown')):
        assert record['pretraining']['sha256'] == file_sha256(tmp_path / f'{name}.pth')
    assert free['backbone'] == dict(arch='vit_tiny_patch16_224', patch_size=16, img_size=32)
    table = write_leaderboard([tmp_path], format='md', columns=['knn'])
    assert 'AugReg †' in table and 'unknown ‡' in table and '‡: it is not known' in table


def test_a_card_has_known_entries(small_config, tmp_path):
    cfg = small_config('transfer/cifar/cifar10_vitt_knn.py')
    encoder = MODELS.build({**cfg.model.backbone, 'pretrained': None})
    state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'x.pth')
    cfg.encoder_card = dict(labels='no')
    with pytest.raises(MixaeError, match=r"encoder_card.labels='no': expected"):
        launch.test(cfg, str(tmp_path / 'x.pth'))


def test_what_evaluate_takes(tmp_path):
    file = tmp_path / 'x.pth'
    file.write_bytes(b'')
    assert describe(str(file), 'vit_tiny_patch16_224', 'teacher', ['labels=false', 'epochs=3']) == {
        'checkpoint': str(file),
        'model': 'vit_tiny_patch16_224',
        'part': 'teacher',
        'card': dict(labels=False, epochs=3),
    }
    assert describe('timm:vit_tiny_patch16_224', None, None, []) == dict(
        model='timm:vit_tiny_patch16_224'
    )
    with pytest.raises(ConfigError, match='no checkpoint and no model of timm.*did you mean vit_'):
        describe('vit_tiny_patch16_22', None, None, [])
    with pytest.raises(ConfigError, match='expected KEY=VALUE with one of method'):
        describe(str(file), None, None, ['lables=false'])
    assert json.dumps(describe(str(file), None, None, []))
