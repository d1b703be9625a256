"""ImageNet's variants: labels, what predictions are chosen among, and AlexNet's mCE of 100."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from PIL import Image

from mixae.datasets.imagenet_variants import CORRUPTIONS, ImageNetVariant, imagenet_wnids
from mixae.derive import derive
from mixae.engine import launch
from mixae.errors import DataError, NotFiniteError
from mixae.evaluation.robustness import ALEXNET, CorruptionError, SubsetAccuracy
from mixae.registry import MODELS

CONFIGS = Path(__file__).parents[2] / 'configs/transfer/robustness'
ARCH = dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32)


def save(folder, count=1):
    folder.mkdir(parents=True)
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f'{i}.jpg')


def make(root, name):
    """Two classes, labels 1 and 999, of two images each; of ImageNet-C in every severity."""
    wnids = imagenet_wnids()
    names = ('1', '999') if name == 'imagenet_v2' else (wnids[1], wnids[999])
    inside = ['']
    if name == 'imagenet_c':
        inside = [f'{kind}/{severity}' for kind in CORRUPTIONS for severity in range(1, 6)]
    for part in inside:
        for each in names:
            save(root / part / each, 1 if name == 'imagenet_c' else 2)
    return root


def test_labels_are_imagenets():
    wnids = imagenet_wnids()
    assert len(wnids) == 1000 and list(wnids) == sorted(wnids)
    assert (wnids[0], wnids[-1]) == ('n01440764', 'n15075141')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """A classifier of 1000 classes, as fine-tuning saves it."""
    cfg = Config.fromfile(CONFIGS / 'imagenet_a_vitb.py')
    cfg.pretrained = 'scratch'
    cfg.model.backbone.update(arch=ARCH, img_size=32, patch_size=16)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(derive(cfg, cuda=False)[0].model)
    model.init_weights()
    torch.nn.init.normal_(model.head.fc.weight)
    path = tmp_path_factory.mktemp('finetuned') / 'epoch_100.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


@pytest.mark.parametrize(
    'name', ['imagenet_a', 'imagenet_r', 'imagenet_sketch', 'imagenet_v2', 'imagenet_c']
)
def test_each_config_tests_a_fine_tuned_checkpoint(name, checkpoint, tmp_path):
    cfg = Config.fromfile(CONFIGS / f'{name}_vitb.py')
    cfg.data_root = str(make(tmp_path / 'data', name))
    cfg.work_dir = str(tmp_path / 'run')
    cfg.experiment_name = name
    cfg.model.backbone.update(arch=ARCH, img_size=32, patch_size=16)
    cfg.test_dataloader.update(batch_size=3, num_workers=0)
    metrics = launch.test(cfg, str(checkpoint))
    (path,) = (tmp_path / 'run').rglob('*.record.json')
    record = json.loads(path.read_text())
    assert record['task'] == 'robustness' and record['dataset']['name'] == name
    if name == 'imagenet_c':
        assert record['dataset']['n_test'] == 150
        entry = record['metrics']['mean_corruption_error']
        assert not entry['higher_is_better'] and entry['value'] > 50
        # Every corruption has the same images, so that the error of each is one number.
        error = 1 - metrics['accuracy/top1'] / 100
        expected = 100 * np.mean([error / value for value in ALEXNET.values()])
        assert metrics['mean_corruption_error'] == pytest.approx(expected)
    else:
        assert record['dataset']['n_test'] == 4
        # A and R have 200 of the classes by design; of the others a part is no easier task.
        among_two = name in ('imagenet_a', 'imagenet_r')
        assert ('accuracy/top5' not in metrics) == among_two
    assert record['dataset']['n_classes_tested'] == 2


def samples(scores, labels):
    return [
        DataSample().set_pred_score(score).set_gt_label(int(label)).to_dict()
        for score, label in zip(scores, labels, strict=True)
    ]


def test_predictions_are_chosen_among_the_classes_of_the_test_set():
    generator = torch.Generator().manual_seed(0)
    scores, tested = torch.randn(200, 1000, generator=generator), [3, 50, 200, 999]
    labels = torch.tensor(tested).repeat(50)
    metric = SubsetAccuracy(topk=(1, 3, 5))
    metric.dataset_meta = dict(classes=imagenet_wnids(), tested=tuple(tested))
    metric.process(None, samples(scores, labels))
    among = torch.tensor(tested)[scores[:, tested].argmax(dim=1)]
    expected = 100 * (among == labels).float().mean().item()
    assert 15 < expected < 40
    found = metric.evaluate(200)
    assert found['accuracy/top1'] == pytest.approx(expected)
    assert set(found) == {'accuracy/top1', 'accuracy/top3'}  # of four classes any is among five


def test_a_model_with_alexnets_errors_has_an_mce_of_100():
    metric = CorruptionError()
    rng = np.random.default_rng(0)
    count = 2000
    for kind, error in ALEXNET.items():
        for severity in range(1, 6):
            right = np.arange(count) >= round(error * count)
            metric.results += [
                dict(corruption=kind, severity=severity, right=int(r))
                for r in rng.permutation(right)
            ]
    found = metric.compute_metrics(metric.results)
    assert found['mean_corruption_error'] == pytest.approx(100, abs=0.05)
    perfect = [dict(result, right=1) for result in metric.results]
    assert metric.compute_metrics(perfect) == {'mean_corruption_error': 0, 'accuracy/top1': 100}


def test_a_score_that_is_not_finite_is_named():
    (sample,) = samples(torch.full((1, 4), torch.nan), [1])
    with pytest.raises(NotFiniteError):
        CorruptionError().process(None, [sample | dict(corruption='fog', severity=1)])


@pytest.mark.parametrize(
    'change, options, message',
    [
        (lambda root: None, {}, 'There is no folder'),
        (lambda root: save(root / 'n99999999'), {}, 'n99999999 is no class of ImageNet'),
        (lambda root: save(root / '1000'), {}, '1000 is no class of ImageNet'),
        (lambda root: (root / '7').mkdir(parents=True), {}, 'There is no image in'),
        (lambda root: save(root / 'fog/1/7'), dict(corruptions=True), 'no folder .*gaussian_noise'),
    ],
)
def test_folders_that_do_not_fit_are_named(change, options, message, tmp_path):
    change(tmp_path / 'data')
    with pytest.raises(DataError, match=message):
        ImageNetVariant(str(tmp_path / 'data'), pipeline=[], **options)
