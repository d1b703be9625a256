"""Top-k accuracy against scikit-learn's, for scores of any sign."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from sklearn.datasets import load_digits
from sklearn.metrics import top_k_accuracy_score

from mixae.errors import NotFiniteError
from mixae.evaluation import Accuracy, FeatureProbeLoop, LinearProbe, WeightedKNN
from mixae.evaluation.accuracy import top_k_accuracy
from mixae.registry import METRICS

CONFIGS = Path(__file__).parents[2] / 'configs'


def scikit_learns(scores, labels, k):
    classes = np.arange(scores.shape[1])
    return 100 * top_k_accuracy_score(labels, scores, k=k, labels=classes)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(6, 40),
    shift=st.floats(-50, 50),
    scale=st.floats(0.01, 100),
)
def test_it_is_scikit_learns_whatever_the_sign_of_scores(seed, classes, shift, scale):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 50)
    scores = rng.normal(shift, scale, (50, classes))
    scores[np.arange(50), labels] += scale  # better than chance
    scores = scores.astype(np.float32)
    for form in (torch.from_numpy(scores), torch.from_numpy(scores).softmax(1)):
        if form.unique().numel() < form.numel():
            continue  # ties have no order
        result = top_k_accuracy(form, torch.from_numpy(labels), (1, 5))
        for k in (1, 5):
            assert result[f'top{k}'] == pytest.approx(scikit_learns(form.numpy(), labels, k))


@pytest.fixture(scope='module')
def digits():
    x, y = load_digits(return_X_y=True)
    return x.astype(np.float32), y


@pytest.mark.parametrize(
    'probe', [LinearProbe(epochs=3, warmup_epochs=0, base_lr=0.001), WeightedKNN(400)]
)
def test_every_probe_reports_what_a_count_by_hand_gives(digits, probe):
    """A linear probe that has hardly learnt: few logits are positive."""
    x, y = digits
    loop = SimpleNamespace(probe=probe, num_classes=10)
    result = FeatureProbeLoop._score(loop, x[:1200], y[:1200], x[1200:], y[1200:])
    scores = probe(x[:1200], y[:1200], x[1200:], 10)
    hits = (scores.topk(5).indices.numpy() == y[1200:, None]).any(axis=1)
    assert result['accuracy/top5'] == pytest.approx(100 * hits.mean())
    for k in (1, 5):
        expected = scikit_learns(scores.nan_to_num(neginf=-1e9).numpy(), y[1200:], k)
        assert result[f'accuracy/top{k}'] == pytest.approx(expected)
    if isinstance(probe, LinearProbe):
        with_threshold = (hits & (scores.numpy()[np.arange(len(hits)), y[1200:]] > 0)).mean()
        assert 100 * with_threshold < result['accuracy/top5'] - 5


def test_a_class_that_is_no_guess_is_never_right():
    scores = torch.tensor([[0.0, *[-np.inf] * 5]])
    assert top_k_accuracy(scores, torch.tensor([1]), (1, 5)) == dict(top1=0, top5=0)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_scores_that_are_not_finite_are_no_result(value):
    scores = torch.zeros(4, 6)
    scores[2, 3] = value
    with pytest.raises(NotFiniteError, match='scores of 1 of 4 images'):
        top_k_accuracy(scores, torch.zeros(4), (1,))


def evaluate(metric, scores, labels):
    samples = [
        DataSample().set_gt_label(int(label)).set_pred_score(row).to_dict()
        for row, label in zip(torch.as_tensor(scores), labels, strict=True)
    ]
    metric.process({}, samples)
    return metric.evaluate(len(labels))


def test_the_metric_takes_scores_of_any_sign():
    scores = torch.tensor([[-1.0, -2, -3, -4], [-1, -2, -3, -4]])
    assert evaluate(Accuracy(topk=(1, 2)), scores, [0, 1]) == {
        'accuracy/top1': 50,
        'accuracy/top2': 100,
    }


@pytest.mark.parametrize(
    'classes, kept', [(1, (1,)), (3, (1,)), (4, (1,)), (5, (1, 5)), (10, (1, 5))]
)
@pytest.mark.parametrize('named', [True, False])
def test_topk_is_capped_by_the_classes_at_start(classes, kept, named, log):
    metric = Accuracy(topk=(1, 5))
    metric.dataset_meta = dict(classes=tuple(map(str, range(classes)))) if named else {}
    said = log()
    if named and kept != (1, 5):
        assert said == [f'{classes} classes: accuracy is top-1, not top-1 and top-5.']
    else:
        assert not said
    result = evaluate(metric, torch.rand(7, classes), [0] * 7)
    assert list(result) == [f'accuracy/top{k}' for k in kept]


def test_one_k_alone_becomes_top_1():
    metric = Accuracy(topk=5)
    metric.dataset_meta = dict(classes=('a', 'b'))
    assert list(evaluate(metric, torch.rand(7, 2), [0] * 7)) == ['accuracy/top1']


def test_every_config_counts_this_way():
    metrics = []
    for path in (CONFIGS / '_base_/schedules').glob('*.py'):
        cfg = Config.fromfile(path)
        evaluators = [cfg[x] for x in ('val_evaluator', 'test_evaluator') if cfg.get(x)]
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            metrics += [METRICS.build(evaluator) for evaluator in evaluators]
    assert len(metrics) >= 6
    assert all(isinstance(metric, Accuracy) and metric.topk == (1, 5) for metric in metrics)
