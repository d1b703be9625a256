"""Run records as a model index file (`metafile.yml`) in OpenMMLab's format."""

from collections import Counter
from collections.abc import Mapping, Sequence

import yaml

from mixae.errors import TableError
from mixae.results.names import (
    INDEX_METRICS,
    METHODS,
    TASKS,
    in_percent,
    is_undefined,
    settings_apart,
)
from mixae.results.record import RunRecord
from mixae.results.render.common import all_visible


def to_metafile(records: Sequence[RunRecord], method: str) -> str:
    """The index file of one method: an entry for each pre-training run and its evaluations.

    Args:
        records: records of any methods; those of `method` are taken.
        method: as records name it: 'mae', 'mixedae', 'imae'.

    Returns:
        YAML. What records do not hold (weights, a batch size) is left out or null, never guessed.

    Raises:
        TableError: an unknown method, or no record of it.
    """
    papers = [name for name, about in METHODS.items() if about.url]
    if method not in papers:
        raise TableError(f'method={method!r}: expected one of {", ".join(papers)}.')
    own = [record for record in records if record['method'] == method and record['pretraining']]
    if not own:
        raise TableError(f'none of {len(records)} records is of a pre-trained {method}.')
    runs: dict[str, list[RunRecord]] = {}
    for record in sorted(own, key=lambda r: (_model_name(r), r['task'], r['created'])):
        runs.setdefault(record['pretraining']['sha256'] or _model_name(record), []).append(record)
    paper = METHODS[method]
    collection = dict(
        Name=paper.name,
        Metadata={
            'Architecture': sorted({record['backbone']['arch'] for record in own}),
            'Training Data': sorted({r['pretraining']['dataset'] for r in own}),
            'Training Techniques': list(paper.techniques),
        },
        Paper=dict(Title=paper.title, URL=paper.url),
        README=f'configs/{method}/README.md',
    )
    names = Counter(_model_name(found[0]) for found in runs.values())
    models = [_model(found, paper.name, names) for found in runs.values()]
    text = yaml.safe_dump(
        all_visible(dict(Collections=[collection], Models=models)),
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )
    return f'# Written by tools/leaderboard.py from run records; do not edit.\n{text}'


def _model_name(record: RunRecord) -> str:
    """As OpenMMLab names models: method, variant, backbone, data, schedule; and the seed."""
    pretraining, backbone = record['pretraining'], record['backbone']
    changed = settings_apart(record['method'], record['variant'])
    parts = [
        record['method'],
        *(f'{key}-{value}' for key, value in sorted(changed.items())),
        f'{backbone["arch"]}-p{backbone["patch_size"]}',
        pretraining['dataset'],
    ]
    if part := pretraining.get('part'):
        parts[-1] += f'-{part}'
    elif pretraining['epochs'] is not None:
        parts[-1] += f'-{pretraining["epochs"]}e'
    if teacher := (pretraining['teacher'] or {}).get('epochs'):
        parts.append(f'teacher-{teacher}e')
    if pretraining['seed'] is not None:
        parts.append(f'seed{pretraining["seed"]}')
    return '_'.join(parts).lower().replace(' ', '')


def _model(records: Sequence[RunRecord], collection: str, names: Mapping[str, int]) -> dict:
    first = records[0]
    pretraining, name = first['pretraining'], _model_name(first)
    if names[name] > 1:  # pre-trained again with the same seed, on another machine
        name += f'_{(pretraining["sha256"] or "unknown")[:8]}'
    resources = pretraining['device']
    if resources and pretraining['device_count']:
        resources = f'{pretraining["device_count"]}x {resources}'
    metadata = {
        'Epochs': pretraining['epochs'],
        'Part of a Schedule': pretraining.get('part'),
        'Images Seen': pretraining['images_seen'],
        'FLOPs of the Run': pretraining['flops'],
        'Training Time (s)': pretraining['seconds'],
        'Training Resources': resources,
        'Labels in Pre-training': pretraining['labels_in_pretraining'],
        'Commit': pretraining['commit'],
        'Checkpoint SHA-256': pretraining['sha256'],
    }
    return dict(
        Name=name,
        **{'In Collection': collection},
        Metadata={key: value for key, value in metadata.items() if value is not None},
        Config=pretraining['config'],
        Weights=None,
        Results=[_result(record) for record in records if TASKS[record['task']].index],
    )


def _result(record: RunRecord) -> dict:
    values = {
        INDEX_METRICS[name]: round(in_percent(metric['value'], metric['unit'])[0], 2)
        for name, metric in record['metrics'].items()
        if name in INDEX_METRICS and not is_undefined(name, metric['value'])
    }
    return dict(
        Task=TASKS[record['task']].index,
        Dataset=record['dataset']['name'],
        Split=record['dataset']['split'],
        Protocol=f'{record["protocol"]["name"]} {record["protocol"]["version"]}',
        Metrics=values,
        Record=record['id'],
    )
