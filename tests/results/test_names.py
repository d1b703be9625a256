"""Ranges of metrics, defaults of methods: what the names stand for."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mixae.engine.hooks.provenance import describe_variant
from mixae.errors import RecordError
from mixae.results.compare import build_table
from mixae.results.names import METHODS, TASKS, settings_apart
from mixae.results.record import metric, read_record, read_records, write_record
from mixae.results.schema import _schema

ROOT = Path(__file__).parents[2]


def test_the_tasks_are_those_of_the_schema():
    assert list(TASKS) == _schema()['properties']['task']['enum']


@pytest.mark.parametrize(
    ('name', 'value', 'unit', 'message'),
    [
        ('accuracy/top1', 500, '%', r'accuracy/top1 is 500 \(%\), expected 0 to 100'),
        ('accuracy/top1', -5, '%', r'is -5 \(%\), expected 0 to 100'),
        ('coco/bbox_mAP', -1, 'fraction', r'is -1 \(fraction\), expected 0 to 1'),
        ('coco/bbox_mAP', 31, 'fraction', 'expected 0 to 1'),
        ('aft/nrmse', -0.1, '', 'expected 0 to inf'),
        ('aft/r2', 1.1, '', 'expected -inf to 1'),
        ('aft/cosine', -2, '', 'expected -1 to 1'),
    ],
)
def test_a_value_that_a_metric_cannot_have_is_never_written(
    make_record, tmp_path, name, value, unit, message
):
    with pytest.raises(RecordError, match=message):
        make_record(metrics={name: metric(value, unit)})
    record = make_record(metrics={name: metric(0.5, unit)})
    record['metrics'][name]['value'] = value
    with pytest.raises(RecordError, match=message):
        write_record(record, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('value', [0, 100, 100 * (1 + 2e-7)])
def test_the_ends_of_a_range_and_single_precision_are_within_it(make_record, value):
    make_record(value=value, metrics={'accuracy/top1': metric(value)})


def test_an_undefined_metric_is_null(make_record, tmp_path):
    metrics = {
        'coco/bbox_mAP': metric(0.3, 'fraction'),
        'coco/bbox_mAP_l': metric(None, 'fraction'),
    }
    path = write_record(make_record(task='detection', metrics=metrics), tmp_path)
    assert '"value": null' in path.read_text()
    assert read_record(path)['metrics']['coco/bbox_mAP_l']['value'] is None


def test_a_variant_is_what_differs_from_the_default_however_it_is_spelt(make_runs):
    old = dict(contrast=0.1, mix_ratio=0.25, mode='topk', segment_embed=True, topk=None)
    spellings = [old, old | dict(topk='auto'), {}]
    runs = [run for v in spellings for run in make_runs(50, method='mixedae', variant=v)]
    for number, run in enumerate(runs):
        run['seed'] = run['pretraining']['seed'] = number
    imae = dict(branches='both', distill=True, mix='beta=1.0')  # before there was disentangle
    others = [imae, imae | dict(distill=1.0, disentangle='mixae.Disentanglement')]
    off = [imae | dict(distill=False), imae | dict(distill=None, disentangle=True)]
    for start, variants in ((20, others), (40, off)):
        for seed, variant in enumerate(variants, start=start):
            runs += make_runs(40, method='imae', variant=variant)
            for at, run in enumerate(runs[-3:]):
                run['seed'] = run['pretraining']['seed'] = 10 * seed + at
    mine = dict(topk=None, flag=True)
    runs += make_runs(30, method='mine', variant=mine)
    table = build_table(runs, columns=['linear'])
    shown = [(row.method, row.variant, len(row.records)) for row in table.rows]
    assert shown == [
        ('mixedae', {}, 9), ('imae', {}, 6), ('imae', dict(distill='off'), 6), ('mine', mine, 3),
    ]  # fmt: skip


def test_two_spellings_of_one_run_are_one_cell(make_record, tmp_path):
    for variant in (dict(distill=True), dict(distill=1.0)):
        write_record(make_record(method='imae', variant=variant), tmp_path)
    with pytest.raises(RecordError, match='2 records for one cell'):
        read_records(tmp_path)


@pytest.mark.parametrize('method', ['mixedae', 'imae'])
def test_the_defaults_are_those_of_the_configs(method):
    config = Config.fromfile(ROOT / f'configs/_base_/models/{method}.py')
    variant = describe_variant(config)
    assert variant.keys() == METHODS[method].defaults.keys()
    assert settings_apart(method, variant) == {}
