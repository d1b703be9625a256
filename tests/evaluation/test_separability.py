"""Table 4's measure against scikit-learn on the full data."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.registry import DefaultScope
from sklearn.linear_model import Lasso
from sklearn.metrics import r2_score
from sklearn.metrics.pairwise import cosine_similarity
from torch import nn
from torch.utils.data import DataLoader

from mixae.datasets.pair_sampler import PairSampler
from mixae.datasets.pseudo_labels import read_pseudo_labels
from mixae.errors import CheckpointError, ConfigError, MixaeError
from mixae.evaluation.pseudo_labels import make_pseudo_labels
from mixae.evaluation.separability import (
    Moments,
    Protocol,
    RegressionScores,
    fit_lasso,
    format_table,
    linear_separability,
    load_imae,
    load_mae_encoder,
    name_rows,
    table_4,
)
from mixae.models import IMAE
from mixae.registry import DATASETS, MODELS
from mixae.results.record import read_records


def data(rows=400, width=7, outputs=3, seed=0, offset=5.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, width)) @ rng.normal(size=(width, width)) + offset
    y = x[:, :outputs] ** 2 / 4 + x @ rng.normal(size=(width, outputs)) + rng.normal(size=outputs)
    return x, y


def moments_of(x, y, batch):
    moments = Moments()
    for start in range(0, len(x), batch):
        moments.update(
            torch.from_numpy(x[start : start + batch]), torch.from_numpy(y[start : start + batch])
        )
    return moments


@pytest.mark.parametrize('alpha', [0.001, 0.1, 2.0])
@pytest.mark.parametrize('batch', [1, 37, 400])
def test_lasso_from_moments_is_scikit_learns_on_all_rows(alpha, batch):
    x, y = data()
    ours = fit_lasso(moments_of(x, y, batch), alpha, max_iter=100000, tol=1e-12)
    theirs = Lasso(alpha, max_iter=100000, tol=1e-12).fit(x, y)
    assert ours.unconverged == 0
    np.testing.assert_allclose(ours.weight_DK.numpy(), theirs.coef_.T, atol=1e-6)
    np.testing.assert_allclose(ours.bias_K.numpy(), theirs.intercept_, atol=1e-5)
    if alpha == 2.0:
        assert (theirs.coef_ == 0).any()
        assert ((ours.weight_DK.numpy().T == 0) == (theirs.coef_ == 0)).all()


def test_lasso_where_features_lie_in_a_hyperplane_as_after_a_layernorm():
    x, y = data(width=8)
    x = nn.LayerNorm(8)(torch.from_numpy(x).float()).double().detach().numpy()
    x -= x.mean(axis=1, keepdims=True)
    assert np.linalg.matrix_rank(x) == 7
    ours = fit_lasso(moments_of(x, y, 64), 0.01, max_iter=200000, tol=1e-13)
    theirs = Lasso(0.01, max_iter=200000, tol=1e-13).fit(x, y)
    np.testing.assert_allclose(ours(torch.from_numpy(x)), theirs.predict(x), atol=1e-4)


def test_moments_keep_their_digits_far_from_zero():
    x, y = data(offset=1e7)
    moments = moments_of(x, y, 32)
    centred = x - x.mean(axis=0)
    np.testing.assert_allclose(moments.xx_DD.numpy(), centred.T @ centred, rtol=1e-7)


def test_an_early_stop_of_the_lasso_is_counted():
    x, y = data()
    assert fit_lasso(moments_of(x, y, 400), 0.001, max_iter=1).unconverged == 3


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 50),
    outputs=st.integers(1, 4),
    constant=st.booleans(),
    average=st.sampled_from(['uniform_average', 'variance_weighted']),
)
def test_scores_are_scikit_learns(seed, batch, outputs, constant, average):
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(50, outputs)) * rng.uniform(0.1, 3, outputs) + rng.normal(
        size=outputs
    )
    guess = target + rng.normal(size=target.shape)
    if constant:
        target[:, 0] = 1.5
    values = dict(
        rms=np.sqrt((target**2).mean()),
        range=np.ptp(target),
        std=target.std(),
        mean=abs(target.mean()),
    )
    for normalizer, norm in values.items():
        scores = RegressionScores(normalizer, average)
        for start in range(0, 50, batch):
            scores.update(*(torch.from_numpy(a[start : start + batch]) for a in (guess, target)))
        found = scores.compute()
        assert found['nrmse'] == pytest.approx(np.sqrt(((guess - target) ** 2).mean()) / norm)
        assert found['r2'] == pytest.approx(r2_score(target, guess, multioutput=average))
        cosines = np.diag(cosine_similarity(guess, target))
        assert found['cosine'] == pytest.approx(cosines.mean())


def test_scores_of_exact_and_zero_predictions():
    target = torch.randn(9, 4, dtype=torch.float64)
    scores = RegressionScores()
    scores.update(target, target)
    assert scores.compute() == pytest.approx(dict(nrmse=0.0, r2=1.0, cosine=1.0))
    scores = RegressionScores()
    scores.update(torch.zeros_like(target), target)
    assert scores.compute()['nrmse'] == pytest.approx(1.0) and scores.compute()['cosine'] == 0.0


L, D = 16, 12
BACKBONE = dict(
    type='mixae.MaskedViT',
    arch=dict(embed_dims=D, num_layers=1, num_heads=2, feedforward_channels=24),
    img_size=16,
    patch_size=4,
    mask_ratio=0.75,
)
MODEL = dict(
    type='mixae.IMAE',
    backbone=BACKBONE,
    neck=dict(
        type='mmpretrain.MAEPretrainDecoder',
        num_patches=L,
        patch_size=4,
        embed_dim=D,
        decoder_embed_dim=8,
        decoder_depth=1,
        decoder_num_heads=2,
    ),
    head=dict(
        type='mmpretrain.MAEPretrainHead',
        patch_size=4,
        loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2'),
    ),
    mix=dict(beta=1.0),
    disentangle=dict(type='mixae.Disentanglement'),
    distill=dict(type='mixae.PatchDistillationLoss'),
    teacher=dict(checkpoint='not/there.pth'),
)


class Noise:
    """Images by index, so that the measure can be done again without the loader."""

    def __init__(self, count, seed):
        generator = torch.Generator().manual_seed(seed)
        self.images = torch.randn(count, 3, 16, 16, generator=generator)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return dict(inputs=self.images[i])


class Batch(nn.Module):
    def forward(self, data, training=False):
        return data


def loader(count, seed, batch_size=14):
    dataset = Noise(count, seed)
    return DataLoader(dataset, batch_size, sampler=PairSampler(dataset, seed=0))


@pytest.fixture(scope='module')
def models():
    torch.manual_seed(0)
    imae = MODELS.build({**MODEL, 'distill': None, 'teacher': None}).eval()
    teacher = MODELS.build({**BACKBONE, 'frozen': True})
    return imae, teacher


def test_the_whole_measure_is_scikit_learns_on_all_features(models):
    imae, teacher = models
    protocol = Protocol(alpha=0.01, mask_ratio=0.5, subordinate=0.3)
    loaders = dict(fit=loader(60, 1), test=loader(33, 2))
    rows = dict(imae=imae, baseline=teacher)
    results = linear_separability(rows, teacher, Batch(), loaders['fit'], loaders['test'], protocol)
    # Once more with everything in memory, pair by pair.
    x, y = {}, {}
    for split, batches in loaders.items():
        generator = torch.Generator().manual_seed(0)
        xs, ys = {name: [] for name in rows}, []
        indices = torch.tensor(list(batches.sampler)).split(14)
        for chunk in indices:
            ids = torch.rand(len(chunk) // 2, L, generator=generator).argsort(1)[:, :8]
            for pair, seen in zip(chunk.view(-1, 2), ids, strict=True):
                own, other = batches.dataset.images[pair]
                mixed = (0.3 * own + 0.7 * other)[None]
                with torch.no_grad():
                    h = imae.backbone(mixed, ids_visible=seen[None])[0][0]
                    xs['imae'].append(imae.disentangle.f_2(h)[1:])
                    xs['baseline'].append(teacher(mixed, ids_visible=seen[None])[0][0, 1:])
                    ys.append(teacher(own[None], ids_visible=seen[None])[0][0, 1:])
        x[split] = {name: torch.cat(v).double().numpy() for name, v in xs.items()}
        y[split] = torch.cat(ys).double().numpy()
    assert y['fit'].shape == (60 * 8, D) and y['test'].shape == (33 * 8, D)
    for name, row in results.items():
        regressor = Lasso(0.01, max_iter=20000, tol=1e-8).fit(x['fit'][name], y['fit'])
        after = regressor.predict(x['test'][name])
        for when, guess in (('fore', x['test'][name]), ('aft', after)):
            rms = np.sqrt((y['test'] ** 2).mean())
            error = np.sqrt(((guess - y['test']) ** 2).mean())
            cosine = np.diag(cosine_similarity(guess, y['test'])).mean()
            expected = dict(nrmse=error / rms, r2=r2_score(y['test'], guess), cosine=cosine)
            assert row[when] == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert results['imae']['aft']['nrmse'] < results['imae']['fore']['nrmse']


def test_part_of_the_training_split_and_drawn_weights(models):
    imae, teacher = models

    def run(**options):
        return linear_separability(
            dict(row=imae), teacher, Batch(), loader(60, 1), loader(20, 2), Protocol(**options)
        )['row']

    whole, part = run(), run(fit_part=0.5)
    assert whole['fore'] == part['fore'] and whole['aft'] != part['aft']
    assert run() == whole  # repeats exactly
    assert run(beta=1.0)['fore'] != whole['fore']
    assert run(mask_ratio=0.0)['fore'] != whole['fore']


def test_the_same_encoder_on_an_unmixed_image_scores_perfectly(models):
    _, teacher = models
    row = linear_separability(
        dict(row=teacher),
        teacher,
        Batch(),
        loader(40, 1),
        loader(20, 2),
        Protocol(subordinate=0.5),
    )['row']
    assert row['fore']['nrmse'] > 0.05
    same = Noise(1, 3).images.expand(40, -1, -1, -1)
    twins = loader(40, 1)
    twins.dataset.images = same
    row = linear_separability(
        dict(row=teacher), teacher, Batch(), loader(40, 1), twins, Protocol(subordinate=0.5)
    )['row']
    assert row['fore']['nrmse'] < 1e-5 and row['fore']['cosine'] == pytest.approx(1.0)


def test_loading_models_and_the_table(models, tmp_path):
    imae, teacher = models
    path = str(tmp_path / 'imae.pth')
    torch.save(dict(state_dict=imae.state_dict()), path)
    loaded = load_imae(MODEL, path)
    assert isinstance(loaded, IMAE) and loaded.teacher is None and not loaded.training
    state = loaded.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in imae.state_dict().items())
    assert torch.equal(load_mae_encoder(BACKBONE, path).cls_token, imae.backbone.cls_token)

    mae = {k: v for k, v in imae.state_dict().items() if not k.startswith('disentangle.')}
    torch.save(dict(state_dict=mae), path)
    with pytest.raises(ValueError, match='disentangle'):
        load_imae(MODEL, path)

    scores = dict(nrmse=0.1234, r2=-3.0, cosine=0.5)
    table = format_table({'i-MAE': dict(fore=scores, aft=scores, unconverged=2)}, Protocol())
    assert '| NRMSE ↓ | i-MAE | 0.123 | 0.123 |' in table and '| R² ↑ | i-MAE | -3.000' in table
    for stated in (
        'mask ratio 0.75',
        'share 0.3',
        'uniform over',
        'rms',
        'uniform_average',
        '2 outputs',
    ):
        assert stated in table


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(fit_part=0.0), 'fit_part=0.0'),
        (dict(mask_ratio=1.0), 'mask_ratio=1.0'),
        (dict(alpha=-1.0), 'alpha=-1.0'),
        (dict(subordinate=0.7), '0.7'),
        (dict(normalizer='iqr'), 'iqr'),
        (dict(r2_average='raw_values'), 'raw_values'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ConfigError, match=message):
        Protocol(**options)


def test_features_that_are_not_finite_stop_the_fit():
    moments = Moments()
    moments.update(torch.tensor([[1.0, float('nan')]]), torch.ones(1, 1))
    with pytest.raises(MixaeError, match='not finite'):
        fit_lasso(moments, 0.1)


def test_nothing_to_fit_on():
    with pytest.raises(ValueError, match='no training feature'):
        fit_lasso(Moments(), 0.1)


@pytest.fixture(scope='module')
def trained(models, tmp_path_factory):
    """A folder data set, the configs of its pre-training and probe, and three checkpoints."""
    import cv2

    root = tmp_path_factory.mktemp('run')
    rng = np.random.default_rng(0)
    for split, count in (('train', 8), ('test', 5)):
        for label in ('ant', 'bee'):
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
                cv2.imwrite(str(root / split / label / f'{i}.png'), image)
    config = Config.fromfile('configs/mae/vitt_cifar10_2000e.py')
    config.merge_from_dict(
        dict(
            model=dict(
                type='mixae.IMAE',
                backbone={**BACKBONE, '_delete_': True},
                neck=dict(decoder_embed_dim=8, decoder_depth=1, decoder_num_heads=2),
                **{k: MODEL[k] for k in ('mix', 'disentangle', 'distill', 'teacher')},
            )
        )
    )
    data = Config.fromfile('configs/transfer/cifar/cifar10_vitt_knn.py')
    data.model.backbone.update({k: v for k, v in BACKBONE.items() if k != 'mask_ratio'})
    for name in ('train_features', 'test_dataloader'):
        data[name].dataset.dataset.data_root = str(root)
        data[name].num_workers = 0
    imae, teacher = models
    torch.save(dict(state_dict=imae.state_dict()), root / 'imae.pth')
    torch.save(
        dict(state_dict={f'backbone.{k}': v for k, v in teacher.state_dict().items()}),
        root / 'mae.pth',
    )
    return root, config, data


def test_table_4_from_configs_and_checkpoints_with_records(trained, tmp_path):
    root, config, data = trained
    imae, mae = str(root / 'imae.pth'), str(root / 'mae.pth')
    results = table_4(
        config,
        imae,
        mae,
        data,
        Protocol(mask_ratio=0.5, same_class_ratio=0.5),
        without_distillation=imae,
        folder=tmp_path,
        batch_size=6,
        device='cpu',
    )
    assert list(results) == ['MAE (baseline)', 'i-MAE w/o distillation', 'i-MAE']
    assert results['i-MAE w/o distillation'] == results['i-MAE']
    records = read_records([tmp_path])
    assert len(records) == 3
    record = next(r for r in records if r['variant'].get('row') == 'i-MAE')
    assert record['metrics']['aft/r2']['value'] == results['i-MAE']['aft']['r2']
    assert record['metrics']['fore/nrmse']['higher_is_better'] is False
    assert record['protocol']['version'] == '1; mask_ratio=0.5; same_class_ratio=0.5'
    assert record['dataset']['n_train'] == 16 and record['dataset']['n_test'] == 10
    assert record['pretraining']['checkpoint'] == 'imae.pth'
    with pytest.raises(ValueError, match='batch_size=5'):
        table_4(config, imae, mae, data, Protocol(), batch_size=5)
    with pytest.raises(ValueError, match='train_features'):
        table_4(config, imae, mae, config, Protocol())


def test_rows_and_teacher_must_belong_together(trained, tmp_path):
    root, config, data = trained
    state = torch.load(root / 'imae.pth')['state_dict']
    digest = hashlib.sha256((root / 'mae.pth').read_bytes()).digest()

    def saved(name, sha256):
        buffer = dict(teacher_sha256=torch.tensor(list(sha256), dtype=torch.uint8))
        torch.save(dict(state_dict=state | buffer), tmp_path / name)
        return str(tmp_path / name)

    own, others = saved('own.pth', digest), saved('others.pth', bytes(32))
    plain, mae = str(root / 'imae.pth'), str(root / 'mae.pth')

    def rows(checkpoint, **options):
        return table_4(config, checkpoint, mae, data, Protocol(), batch_size=6, **options)

    rows(own, without_distillation=plain, folder=tmp_path / 'records')
    notes = {r['notes'].split('Targets: ')[1] for r in read_records([tmp_path / 'records'])}
    assert notes == {f'the features of mae.pth, SHA-256 {digest.hex()}.'}
    with pytest.raises(CheckpointError, match='others.pth was distilled from the teacher'):
        rows(others)
    with pytest.raises(CheckpointError, match='own.pth.* is no i-MAE without distillation'):
        rows(plain, without_distillation=own)


def test_several_imaes_are_named_by_what_tells_them_apart(trained, tmp_path):
    root, config, data = trained
    state = torch.load(root / 'imae.pth')['state_dict']

    def saved(name, share, distill=True):
        told = dict(method='imae', variant=dict(same_class_ratio=share, distill=distill, mix='x'))
        torch.save(dict(state_dict=state, mixae=told), tmp_path / name)
        return str(tmp_path / name)

    half, whole = saved('half.pth', 0.5), saved('whole.pth', 1.0)
    assert name_rows([half]) == {'i-MAE': half}
    assert list(name_rows([half, whole])) == [
        'i-MAE, same_class_ratio=0.5',
        'i-MAE, same_class_ratio=1.0',
    ]
    plain = saved('plain.pth', 0.5, distill=False)
    assert 'i-MAE, same_class_ratio=0.5, distill=False' in name_rows([half, whole, plain])
    with pytest.raises(ValueError, match='different settings'):
        name_rows([half, half])
    with pytest.raises(ValueError, match='at least one'):
        name_rows([])
    results = table_4(
        config,
        [half, whole],
        str(root / 'mae.pth'),
        data,
        Protocol(),
        folder=tmp_path / 'records',
        budget='a minute',
        batch_size=6,
        device='cpu',
    )
    assert list(results)[1:] == list(name_rows([half, whole]))
    records = read_records([tmp_path / 'records'])
    shares = {r['variant'].get('same_class_ratio') for r in records if r['method'] == 'imae'}
    assert shares == {0.5, 1.0} and {r['budget'] for r in records} == {'a minute'}


def test_pseudo_labels_from_a_checkpoint(trained, tmp_path):
    root, _, data = trained
    path, mae = tmp_path / 'pseudo.npz', root / 'mae.pth'
    sizes = make_pseudo_labels(data, str(mae), path, k=3, seed=1, device='cpu')
    labels, provenance = read_pseudo_labels(path)
    assert sum(sizes) == len(labels) == 16 and np.bincount(labels).tolist() == sizes
    assert provenance['checkpoint_sha256'] == hashlib.sha256(mae.read_bytes()).hexdigest()
    assert (provenance['k'], provenance['seed'], provenance['dataset']) == (3, 1, 'cifar10')
    again = tmp_path / 'again.npz'
    make_pseudo_labels(data, str(mae), again, k=3, seed=1, device='cpu')
    assert np.array_equal(read_pseudo_labels(again)[0], labels)
    # The pre-training's own data set is the same images, and takes the file.
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        train = DATASETS.build(data.train_features.dataset)
    PairSampler(train, same_class_ratio=0.5, pseudo_labels=str(path), seed=0)
