"""The published numbers against where they come from."""

import math
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from mixae.results.compare import build_table
from mixae.results.names import DATASETS, dataset_name
from mixae.results.published import load_published
from mixae.results.table import select_published
from mixae.suite.plan import load_suite

ROOT = Path(__file__).parents[2]


def test_every_data_set_of_the_file_has_the_name_that_our_configs_give():
    assert {result.dataset for result in load_published()} <= set(DATASETS.values())
    assert dataset_name('cifar10') == dataset_name('CIFAR-10') == 'CIFAR-10'


@pytest.mark.parametrize('name', ['cifar10', 'cifar10_small', 'tiny_imagenet', 'imagenet'])
def test_a_suite_of_a_paper_finds_its_published_rows(name, make_record):
    suite = load_suite(ROOT / 'configs' / 'suites' / f'{name}.py')
    assert suite.published == 'matching'
    tasks = dict(knn='knn', linear='linear', finetune='finetune', ade20k='semseg', coco='instance')
    found = {}
    for run in suite.evaluations:
        what = run.name.split('/')[1]
        if what in tasks and what not in found:
            about = dict(run.config().data_about)
            about |= dict(description=None, split=None, n_train=None, n_test=None)
            record = make_record(task=tasks[what], dataset=about)
            found[what] = len(select_published(load_published(), [record]))
    assert (found.pop('knn') > 0) == (name == 'imagenet'), 'no paper has it of small sets'
    assert {'linear', 'finetune'} <= found.keys() and all(found.values()), found


def _index(package, name):
    folder = Path(find_spec(package).origin).parent / '.mim/configs/mae'
    models = yaml.safe_load((folder / name).read_text())['Models']
    return {model['Name']: model for model in models}


def _published(source, **fields):
    return [
        result
        for result in load_published()
        if result.source == source
        and all(getattr(result, name) == value for name, value in fields.items())
    ]


def test_mmpretrain_rows_are_its_model_index():
    index = _index('mmpretrain', 'metafile.yml')
    results = _published('mmpretrain')
    for result in results:
        model = index[result.entry]
        assert model['Results'][0]['Metrics']['Top 1 Accuracy'] == result.value
        assert model['Results'][0]['Dataset'].lower() == result.dataset.lower()
        size = {'B': 'base', 'L': 'large', 'H': 'huge'}[result.backbone['arch'][-1]]
        patch = f'p{result.backbone["patch_size"]}'
        assert f'vit-{size}-{patch}_mae-{result.pretraining["epochs"]}e-pre' in result.entry
        assert ('linear' in result.entry) == (result.task == 'linear')
        assert f'{model["Metadata"]["Epochs"]} epochs' in result.protocol
        assert ('448px' in result.entry) == (result.backbone['img_size'] == 448)
    measured = {name for name, model in index.items() if model['Results']}
    assert {result.entry for result in results} == measured, 'all of them, none else'


def test_mmsegmentation_rows_are_its_model_index():
    index = _index('mmseg', 'metafile.yaml')
    results = _published('mmseg')
    for result in results:
        assert index[result.entry]['Results']['Metrics'][result.metric] == result.value
    assert {result.metric: result.value for result in results}['mIoU'] == 48.13
    assert len(results) == sum(len(model['Results']['Metrics']) for model in index.values())


def _values(table, method, variant=None, task='finetune'):
    return {
        result.dataset: result.value
        for result in _published('imae', table=table, method=method, task=task)
        if variant is None or result.variant == variant
    }


def test_imae_tables_agree_with_each_other():
    # What methods.md says of the headline rows, and what the paper's tables repeat.
    assert _values('Table 1', 'mae') == _values('Table 3', 'mae')
    assert _values('Table 2', 'mae', task='linear') == _values('Table 3', 'mae', task='linear')
    ratios = {r: dict(same_class_ratio=r) for r in (0.0, 0.5, 1.0)}
    headline = _values('Table 2', 'imae', task='linear')
    assert headline == _values('Table 3', 'imae', ratios[1.0], task='linear')
    tuned = _values('Table 1', 'imae')
    assert tuned['CIFAR-100'] == _values('Table 3', 'imae', ratios[0.5])['CIFAR-100'] == 69.50
    others = [_values('Table 3', 'imae', ratio)[d] for ratio in ratios.values() for d in tuned]
    assert tuned['CIFAR-10'] not in others and tuned['Tiny-ImageNet'] not in others
    assert tuned == _values('Table 5', 'imae', {})
    for result in _published('imae', method='imae'):
        if result.table in ('Table 1', 'Table 2') or (result.table, result.variant) == (
            'Table 5',
            {},
        ):
            assert 'ratio varies' in result.note
            assert result.labels_in_pretraining


def test_imae_has_all_of_its_five_tables():
    counts = {f'Table {n}': len(_published('imae', table=f'Table {n}')) for n in range(1, 6)}
    # Table 4: 3 scores x 3 methods x 8, less the 9 dashes of R^2 and the 1 of cosine
    dashes = 6 + 1
    assert counts == {
        'Table 1': 9, 'Table 2': 6, 'Table 3': 24, 'Table 4': 72 - dashes, 'Table 5': 6,
    }  # fmt: skip


def test_separability_is_consistent_after_regression():
    # A fitted linear map's cosine is close to sqrt(R^2): it is the same fit seen twice.
    rows = {}
    for result in _published('imae', table='Table 4'):
        key = (result.method, str(result.variant), result.dataset)
        rows.setdefault(key, {})[result.metric] = result
    assert len(rows) == 12
    for row in rows.values():
        assert row['aft/cosine'].value == pytest.approx(math.sqrt(row['aft/r2'].value), abs=0.03)
        assert not row['aft/nrmse'].higher_is_better and row['aft/r2'].higher_is_better


def test_mixedae_enters_as_differences():
    results = _published('mixedae')
    assert all(result.delta for result in results)
    assert {(r.dataset, r.metric): r.value for r in results if r.task != 'pretrain'} == {
        ('ImageNet-1K', 'accuracy/top1'): 0.3,
        ('ADE20K', 'mIoU'): 1.7,
        ('COCO', 'coco/bbox_mAP'): 0.9,
        ('COCO', 'coco/segm_mAP'): 0.9,
    }
    (cost,) = _published('mixedae', task='pretrain')
    assert cost.value == 3 and '53.4 %' in cost.note


_GOOD = dict(
    version=1,
    sources=dict(s=dict(name='S', title='', url='', setups=dict(D=dict(backbone=dict(arch='v'))))),
    tables=[
        dict(
            source='s',
            table='1',
            unit='%',
            columns=[dict(dataset='D', task='linear', metric='m', protocol='p')],
            rows=[dict(method='mae', values=[1.0])],
        )
    ],
)


@pytest.mark.parametrize(
    ('keys', 'value', 'message'),
    [
        (('tables', 0, 'source'), 't', 'unknown source; the file has s'),
        (('tables', 0, 'rows', 0, 'values'), [1.0, 2.0], '2 values .* for 1 columns'),
        (('tables', 0, 'rows', 0, 'values'), ['1'], "'1' is not a number"),
        (('tables', 0, 'rows', 0, 'valeus'), [1.0], "unknown \\['valeus'\\]"),
        (('tables', 0, 'columns', 0), dict(dataset='D'), 'missing'),
    ],
)
def test_a_table_that_does_not_fit_is_named(tmp_path, keys, value, message):
    path = tmp_path / 'published.yaml'
    document = yaml.safe_load(yaml.safe_dump(_GOOD))
    path.write_text(yaml.safe_dump(document))
    assert [result.value for result in load_published(path)] == [1.0]
    place = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ValueError, match=message) as error:
        load_published(path)
    assert str(path) in str(error.value)


def test_rows_of_other_methods_are_mmpretrains_model_index():
    models = {}
    for path in Path(find_spec('mmpretrain').origin).parent.glob('.mim/configs/*/metafile.yml'):
        if path.parent.name in 'beit beitv2 cae maskfeat mff milan mixmim mocov3'.split():
            read = yaml.safe_load(path.read_text())['Models']
            models |= {model['Name']: model for model in read}
    results = _published('mmpretrain_methods')
    assert len(results) == 13
    for result in results:
        assert models[result.entry]['Results'][0]['Metrics']['Top 1 Accuracy'] == result.value
        assert f'{models[result.entry]["Metadata"]["Epochs"]} epochs' in result.protocol
        assert ('linear' in result.entry) == (result.task == 'linear')


def test_maes_box_ap_on_coco_is_one_number_for_each_protocol():
    found = {
        result.protocol: result.value
        for result in _published('cae', method='mae') + _published('vitdet', method='mae')
        if result.metric == 'coco/bbox_mAP' and result.backbone['arch'] == 'ViT-B'
    }
    assert found == {
        'CAE detection': 48.4,
        'ViTDet Mask R-CNN': 51.6,
        'ViTDet Cascade Mask R-CNN': 54.0,
    }
    table = build_table([], load_published(), columns=['box_ap', 'attentive', 'linear'])
    for row in table.rows:
        for column in table.columns:
            if column.kind.key == 'box_ap' and column.id in row.cells:
                assert row.cells[column.id].protocol in column.note
    headers = [column.header for column in table.columns]
    assert len(set(headers)) == len(headers)
    assert 'Box AP, COCO, ViTDet Mask R-CNN' in headers


def test_one_row_of_one_source_has_one_number_in_a_column():
    seen = {}
    for result in load_published():
        key = (
            result.source, result.table, result.method, str(result.variant), str(result.backbone),
            str(result.pretraining), result.task, result.metric, result.dataset, result.protocol,
        )  # fmt: skip
        assert seen.setdefault(key, result.value) == result.value, key


def test_numbers_in_the_sources_that_have_several_readings():
    # What each project prints of MAE ViT-B: the protocol makes the number.
    linear = {r.source: r.value for r in load_published()
              if (r.method, r.task, r.dataset) == ('mae', 'linear', 'ImageNet-1K')
              and r.backbone['arch'] == 'ViT-B'
              and (r.pretraining['epochs'] or 1600) == 1600}  # fmt: skip
    assert linear == dict(cae=67.8, ep=67.8, mae=67.8, mmpretrain=67.1)
    (mce,) = [r for r in _published('mae', dataset='ImageNet-C') if r.backbone['arch'] == 'ViT-B']
    assert mce.value == 51.7 and not mce.higher_is_better
