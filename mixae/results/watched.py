"""What was watched while pre-training, as metrics: the ends of the curves that records carry."""

import math
import statistics
from collections.abc import Mapping, Sequence

from mixae.results.names import unit_of
from mixae.results.record import RunRecord, metric

SHARE = 0.1  # of the readings: the last tenth is the end
PROTOCOL = dict(name='mean of the last tenth of pre-training', version='1')


def at_the_end(values: Sequence[float | None]) -> float | None:
    """Mean of the last :data:`SHARE` of the readings, at least one; None where none is defined."""
    last = values[-max(1, math.ceil(SHARE * len(values))) :]
    defined = [value for value in last if value is not None]
    return statistics.fmean(defined) if defined else None


def watched_metrics(record: Mapping) -> dict[str, dict]:
    """Metrics of the pre-training that a record carries the curves of, as in ``metrics``.

    A curve gives its mean over lines, by its name; where it has several, each line; and its
    reference: ``topk_accuracy``, ``topk_accuracy/layer 1``, ``topk_accuracy/chance``.
    """
    metrics = {}
    for name, curve in record.get('curves', {}).items():
        if curve['x_label'] not in ('iteration', 'epoch'):
            continue  # of the evaluation: what a probe chose among
        ends = {line: at_the_end(values) for line, values in curve['lines'].items()}
        ends = {line: value for line, value in ends.items() if value is not None}
        if not ends:
            continue
        values = {name: statistics.fmean(ends.values())}
        if len(curve['lines']) > 1:
            values |= {f'{name}/{line}': value for line, value in ends.items()}
        if curve.get('reference') is not None:
            values[f'{name}/{curve.get("reference_label", "reference")}'] = curve['reference']
        metrics |= {key: metric(value, *unit_of(name)) for key, value in values.items()}
    return metrics


def watched_record(record: RunRecord) -> RunRecord | None:
    """An evaluation's record as one of its pre-training; None where nothing was watched."""
    metrics = watched_metrics(record)
    if not metrics or not record['pretraining']:
        return None
    unknown = dict.fromkeys(('description', 'split', 'n_train', 'n_test'))
    dataset = dict(name=record['pretraining']['dataset'], **unknown)
    told = RunRecord(
        record,
        task='pretrain',
        protocol=PROTOCOL,
        dataset=dataset,
        seed=record['pretraining']['seed'],
        metrics=metrics,
    )
    told.path = record.path
    return told
