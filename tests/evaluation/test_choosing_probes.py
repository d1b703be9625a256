"""Probes that choose on a held-out part, and the attentive one, against independent ones."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from mmengine.structures import BaseDataElement
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Theirs
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mixae.checkpoints.read import read_checkpoint
from mixae.datasets import SeededDataset
from mixae.datasets.held_out import hold_out
from mixae.derive import derive
from mixae.engine import launch
from mixae.errors import ConfigError, DataError
from mixae.evaluation import LogisticRegression
from mixae.models.heads import EfficientProbeHead, SweepHead
from mixae.models.layers.batch_norm import GlobalBatchNorm
from mixae.registry import MODELS


@pytest.fixture(scope='module')
def digits():
    x, y = load_digits(return_X_y=True)
    return x.astype(np.float32), y


def batches(digits, steps, size=64):
    """What an encoder of two layers would return: 4 rows of 16 pixels as tokens; and labels."""
    x, y = (torch.from_numpy(part) for part in digits)
    for i in range(steps):
        tokens = x[i * size : (i + 1) * size].reshape(-1, 4, 16)
        yield [tokens.sqrt(), tokens], y[i * size : (i + 1) * size]


def samples(labels):
    return [BaseDataElement(gt_label=label[None]) for label in labels]


def train(head, optimizer, steps):
    for feats, labels in steps:
        loss = head.loss(feats, samples(labels))['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# ---- sweep ------------------------------------------------------------------------------------


def test_every_candidate_is_a_probe_trained_alone_at_its_rate(digits):
    torch.manual_seed(0)
    rates = (1e-3, 0.05)
    head = SweepHead(10, 16, rates=rates, layers=(1, 2))
    alone = {}
    for i, (count, pool) in enumerate(head.features):
        for j, rate in enumerate(rates):
            norm = nn.BatchNorm1d(head.linears[i].in_features, affine=False, eps=1e-6)
            linear = nn.Linear(head.linears[i].in_features, 10)
            part = slice(10 * j, 10 * (j + 1))
            with torch.no_grad():
                linear.weight.copy_(head.linears[i].weight[part])
                linear.bias.copy_(head.linears[i].bias[part])
            optimizer = torch.optim.SGD(linear.parameters(), lr=rate * 0.25, momentum=0.9)
            alone[count, pool, j] = nn.Sequential(norm, linear), optimizer
    # 64 images per step: base_lr 1 is a rate of 64 / 256.
    optimizer = torch.optim.SGD(head.parameters(), lr=0.25, momentum=0.9)
    train(head, optimizer, batches(digits, 12))

    def feature(feats, count, pool):
        cls = [x[:, 0] for x in feats[-count:]]
        avg = [x[:, 1:].mean(dim=1) for x in feats[-count:]]
        both = [x for pair in zip(cls, avg, strict=True) for x in pair]
        return torch.cat(dict(cls=cls, avg=avg, both=both)[pool], dim=1)

    for feats, labels in batches(digits, 12):
        for (count, pool, _), (model, optimizer) in alone.items():
            optimizer.zero_grad()
            F.cross_entropy(model(feature(feats, count, pool)), labels).backward()
            optimizer.step()
    head.eval()
    feats, _ = next(batches(digits, 1))
    with torch.no_grad():
        scores = head.scores(feats)
        for k, (key, (model, _)) in enumerate(alone.items()):
            expected = model.eval()(feature(feats, *key[:2]))
            torch.testing.assert_close(scores[:, k], expected, rtol=1e-4, atol=1e-5)
    assert len(head.names) == scores.shape[1] == 12
    assert head.names[1] == ('last layer, cls', 0.05)


def one_of_two(rank, digits, head, out):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{out}/rendezvous', rank=rank, world_size=2
    )
    model = DistributedDataParallel(_Losses(head), broadcast_buffers=False)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.25, momentum=0.9)
    for feats, labels in batches(digits, 4):
        optimizer.zero_grad()
        model([x[rank::2] for x in feats], samples(labels[rank::2])).backward()
        optimizer.step()
    torch.save(head.state_dict(), f'{out}/{rank}.pth')
    torch.distributed.destroy_process_group()


class _Losses(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, feats, data_samples):
        return self.head.loss(feats, data_samples)['loss']


@pytest.mark.parametrize('kind', ['sweep', 'attentive'])
def test_two_processes_train_what_one_does(digits, kind, tmp_path):
    torch.manual_seed(0)
    head = SweepHead(10, 16, layers=(1, 2)) if kind == 'sweep' else EfficientProbeHead(10, 16, 4)
    torch.multiprocessing.start_processes(
        one_of_two, (digits, head, tmp_path), nprocs=2, start_method='fork'
    )
    train(head, torch.optim.SGD(head.parameters(), lr=0.25, momentum=0.9), batches(digits, 4))
    both = [torch.load(tmp_path / f'{rank}.pth', weights_only=True) for rank in range(2)]
    for name, value in head.state_dict().items():
        assert torch.equal(both[0][name], both[1][name]), name
        torch.testing.assert_close(both[0][name], value, rtol=1e-3, atol=1e-5)


def test_the_norm_is_torchs(digits):
    x = torch.from_numpy(digits[0][:, 10:20]).double().float()
    ours, theirs = GlobalBatchNorm(10), nn.BatchNorm1d(10, affine=False, eps=1e-6)
    for part in x[:600].split(60):
        torch.testing.assert_close(ours(part), theirs(part), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-4, atol=1e-4)


SWEEP = 'transfer/cifar/cifar10_vitt_sweep.py'
ATTENTIVE = 'transfer/cifar/cifar10_vitt_attentive.py'


def probe_config(small_config, path, work_dir):
    cfg = small_config(path, work_dir)
    cfg.pretrained = 'scratch'
    cfg.protocol.version = '1'
    if path == SWEEP:
        cfg.model.backbone.out_indices = [-3, -2, -1]
        cfg.model.head.layers = (1, 3)
    else:
        cfg.model.head.num_queries = 4
        cfg.warmup_epochs = 1
    return cfg


def record_of(work_dir):
    (path,) = work_dir.glob('records/*.json')
    return json.loads(path.read_text())


@pytest.mark.parametrize('path', [SWEEP, ATTENTIVE])
def test_a_probe_goes_on_bit_for_bit_and_leaves_its_record(small_config, tmp_path, path):
    launch.train(probe_config(small_config, path, tmp_path / 'whole'))
    whole = record_of(tmp_path / 'whole')
    launch.train(
        probe_config(small_config, path, tmp_path / 'parts'),
        resume=str(tmp_path / 'whole/epoch_1.pth'),
    )
    resumed = record_of(tmp_path / 'parts')
    a, b = (
        read_checkpoint(tmp_path / name / 'epoch_2.pth')['state_dict']
        for name in ('whole', 'parts')
    )
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    assert whole['metrics'] == resumed['metrics']
    assert whole['dataset']['n_test'] == 24
    if path == ATTENTIVE:
        assert whole['task'] == 'attentive'
        assert whole['dataset']['n_train'] == 48
        return
    assert whole['protocol']['name'] == 'linear-sweep-2e'
    assert whole['dataset']['n_train'] == 44  # 1 of 12 per class is held out
    curve = whole['curves']['sweep']
    assert resumed['curves']['sweep'] == curve
    assert len(curve['x']) == 13 and len(curve['lines']) == 6
    chosen = whole['extra']['chosen']
    best = max(value for line in curve['lines'].values() for value in line)
    assert curve['lines'][chosen['feature']][curve['x'].index(chosen['rate'])] == best
    assert chosen['at_edge'] == (chosen['rate'] in (curve['x'][0], curve['x'][-1]))
    assert whole['metrics']['held_out/top1'] == dict(value=best, unit='%', higher_is_better=True)


def test_a_sweep_wants_plain_sgd(small_config, tmp_path):
    cfg = probe_config(small_config, SWEEP, tmp_path / 'x')
    cfg.optim_wrapper.optimizer = dict(type='AdamW', lr='auto')
    with pytest.raises(ConfigError, match='AdamW.*SGD without weight decay'):
        launch.train(cfg)


@pytest.mark.parametrize(
    'model, extra, pools',
    [
        ('vit_small_patch14_reg4_dinov2', 5, ['cls', 'avg', 'both']),
        ('vit_base_patch16_reg4_gap_256', 4, ['avg']),
        ('vit_base_patch16_siglip_224', 0, ['avg']),
    ],
)
def test_probes_take_patches_for_patches(small_config, model, extra, pools):
    """A class token there may be none of, and registers are no patches."""
    backbone = dict(type='mixae.TimmEncoder', model=model, img_size=28, out_type='raw')
    backbone |= dict(model_args=dict(embed_dim=24, depth=4, num_heads=2, patch_size=14))
    patches, heads = torch.randn(6, 4, 24), []
    for name in ('sweep', 'attentive'):
        cfg = small_config(f'transfer/cifar/cifar10_vitt_{name}.py')
        outputs = {
            k: v for k, v in cfg.model.backbone.items() if k in ('out_indices', 'norm_outputs')
        }
        cfg.model.backbone = dict(backbone, **outputs)
        if name == 'attentive':
            cfg.model.head.num_queries = 4
        cfg.pretrained = 'scratch'
        cfg = derive(cfg, cuda=False)[0]
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            encoder, head = MODELS.build(cfg.model.backbone), MODELS.build(cfg.model.head).eval()
        assert encoder(torch.zeros(1, 3, 28, 28))[-1].shape[1] == extra + 4
        heads.append(head)
    sweep, attentive = heads
    assert list(dict.fromkeys(pool for _, pool in sweep.features)) == pools
    chosen = [i for i, (name, _) in enumerate(sweep.names) if name.endswith(' avg')]
    tokens = [torch.cat([torch.randn(6, extra, 24), patches], dim=1) for _ in range(2)]
    scores, others = (sweep.scores([x] * 4)[:, chosen] for x in tokens)
    assert torch.equal(scores, others), 'only what comes before the patches differs'
    assert torch.equal(*(attentive([x]) for x in tokens))
    fewer = patches.roll(1, dims=0)[:, :1]
    changed = torch.cat([tokens[0][:, :extra], fewer, patches[:, 1:]], dim=1)
    assert not torch.equal(attentive([changed]), attentive([tokens[0]]))


def test_a_class_token_that_there_is_not_is_named(small_config):
    cfg = small_config('transfer/cifar/cifar10_vitt_sweep.py')
    cfg.model.backbone = dict(
        type='mixae.TimmEncoder', model='vit_base_patch16_siglip_224', out_type='raw'
    )
    cfg.model.head.update(pools=['both', 'avg'], layers=[1])
    cfg.pretrained = 'scratch'
    with pytest.raises(ConfigError, match='no class token, which both need'):
        derive(cfg, cuda=False)


# ---- attentive --------------------------------------------------------------------------------


def test_efficient_probing_is_attention_of_each_query_to_its_own_channels():
    torch.manual_seed(0)
    head = EfficientProbeHead(5, 24, num_queries=3)
    x = torch.randn(7, 11, 24)
    values = head.values(x).split(8, dim=2)
    expected = torch.cat(
        [
            F.scaled_dot_product_attention(query.expand(7, 1, 24), x, value)[:, 0]
            for query, value in zip(head.queries_QD, values, strict=True)
        ],
        dim=1,
    )
    torch.testing.assert_close(head.pool(x), expected, rtol=1e-4, atol=1e-5)


def test_it_finds_what_an_average_hides():
    """One of 16 patches tells the class; which one differs from image to image."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (512,), generator=generator)
    x = torch.randn(512, 16, 8, generator=generator)
    place = torch.randint(0, 16, (512,), generator=generator)
    x[torch.arange(512), place, 0] = 6.0  # a mark, and beside it the class
    x[torch.arange(512), place, 1] = 2.0 * labels - 1
    feats = [torch.cat([torch.zeros(512, 1, 8), x], dim=1)]
    torch.manual_seed(0)
    head = EfficientProbeHead(2, 8, num_queries=2)
    linear = SweepHead(2, 8, rates=(0.1,), layers=(1,), pools=('avg',))
    for model in (head, linear):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        train(model, optimizer, [(feats, labels)] * 200)
    attentive, average = (
        float((scores.argmax(dim=1) == labels).float().mean())
        for scores in (head(feats), linear.scores(feats)[:, 0])
    )
    assert attentive > 0.95 > 0.75 > average


def test_queries_that_do_not_divide_the_width_are_named():
    with pytest.raises(ConfigError, match='num_queries=5: expected a divisor.*24'):
        EfficientProbeHead(5, 24, num_queries=5)


# ---- logistic regression ----------------------------------------------------------------------


@pytest.mark.parametrize('strength', [1e-6, 1e-3, 1.0, 1e3])
def test_logistic_regression_is_newtons(digits, strength):
    """Newton's method is another solver of the same problem."""
    x, y = digits
    x_train, y_train, x_test = x[:300], y[:300], x[300:800]
    scaler = StandardScaler().fit(x_train)
    theirs = Theirs(C=strength, tol=1e-10, solver='newton-cholesky')
    theirs.fit(scaler.transform(x_train.astype(float)), y_train)
    scores = LogisticRegression(strengths=(strength,))(x_train, y_train, x_test, 10)
    expected = theirs.predict_proba(scaler.transform(x_test.astype(float)))
    # With next to no regularisation the optimum is flat, and solvers stop at different places.
    np.testing.assert_allclose(scores.exp(), expected, atol=5e-2 if strength > 1 else 1e-3)


def test_a_class_without_an_image_is_no_guess(digits):
    x, y = digits
    few = y[:300] != 4
    scores = LogisticRegression(strengths=(1.0,))(x[:300][few], y[:300][few], x[300:310], 10)
    assert (scores[:, 4] == -torch.inf).all() and scores[:, 5].isfinite().all()


def test_c_is_what_is_best_on_the_held_out_part(digits):
    x, y = digits
    x_train, y_train = x[:300], y[:300]
    probe = LogisticRegression(strengths=(1e-3, 1.0))
    probe(x_train, y_train, x[300:], 10)
    held = hold_out(y_train, 0.2)
    scaler = StandardScaler().fit(x_train[~held])
    expected = [
        100
        * Theirs(C=c, tol=1e-8, max_iter=10_000)
        .fit(scaler.transform(x_train[~held]), y_train[~held])
        .score(scaler.transform(x_train[held]), y_train[held])
        for c in (1e-3, 1.0)
    ]
    assert probe.curves['regularisation']['lines']['accuracy'] == pytest.approx(expected, abs=2)
    assert probe.extra['chosen']['C'] == (1e-3, 1.0)[int(np.argmax(expected))]


@pytest.mark.parametrize('strengths', [(1e-6, 1e-2), (1e-6, 1e-2, 1.0001e-2), (1e-2,)])
def test_a_c_at_the_edge_is_told(digits, strengths):
    x, y = digits
    probe = LogisticRegression(strengths=strengths)
    probe(x[:300], y[:300], x[300:310], 10)
    at_edge = len(strengths) == 2
    assert probe.extra['chosen'] == dict(C=1e-2, at_edge=at_edge, converged=True, n_held_out=60)


def test_a_regression_that_has_not_converged_is_told(digits):
    x, y = digits
    probe = LogisticRegression(strengths=(1.0,), max_iter=5)
    with pytest.warns(ConvergenceWarning):
        probe(x[:300], y[:300], x[300:310], 10)
    assert probe.extra['chosen']['converged'] is False


# ---- what is held out -------------------------------------------------------------------------


def test_the_held_out_part_has_its_share_of_every_class():
    labels = np.repeat([3, 1, 0], [100, 10, 2])
    held = hold_out(labels, 0.1)
    assert {label: int(held[labels == label].sum()) for label in (3, 1, 0)} == {3: 10, 1: 1, 0: 1}
    assert np.array_equal(held, hold_out(labels, 0.1))


@pytest.mark.parametrize(
    'labels, share, message',
    [
        ([0, 0, 1], 0.1, '1 of 2 classes have 1 image.*class 1'),
        ([], 0.1, 'no training image'),
        ([0, 0], 0.0, 'hold_out=0.0: expected a share'),
        ([0, 0], 1.0, 'hold_out=1.0: expected a share'),
    ],
)
def test_what_cannot_be_held_out_is_named(labels, share, message):
    with pytest.raises(DataError, match=message):
        hold_out(np.array(labels), share)


def folder_set(image_folder, with_label=True, **options):
    dataset = dict(type='mixae.ImageFolder', data_root=str(image_folder), data_prefix='train')
    return SeededDataset(dict(**dataset, with_label=with_label, pipeline=[]), **options)


def test_both_parts_are_the_whole_training_set(image_folder):
    fit, held = (folder_set(image_folder, hold_out=0.25, part=part) for part in ('fit', 'held_out'))
    assert (len(fit), len(held)) == (36, 12)
    assert sorted([*fit.indices, *held.indices]) == list(range(48))
    labels = [held.get_data_info(i)['gt_label'] for i in range(12)]
    assert np.bincount(labels).tolist() == [3, 3, 3, 3]


def test_a_set_without_labels_has_no_part_to_hold_out(image_folder):
    with pytest.raises(DataError, match='has no label; .*with_label=True'):
        folder_set(image_folder, with_label=False, hold_out=0.25)
