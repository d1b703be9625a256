"""Estimates of mutual information, where the truth is known and from configs and checkpoints."""

import math
from copy import deepcopy
from itertools import islice

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mixae.derive import derive
from mixae.engine.hooks.provenance import describe_variant
from mixae.engine.options import merge_options
from mixae.errors import CheckpointError, ConfigError, DataError
from mixae.evaluation.mutual_information.command import Protocol, format_table, mutual_information
from mixae.evaluation.mutual_information.estimators import (
    MIXTURE,
    Batch,
    InformationProbe,
    PatchCoordinates,
    PatchMarginal,
    fit_probe,
    measure,
)
from mixae.registry import MODELS
from mixae.results.record import read_records

ARCH = dict(embed_dims=12, num_layers=2, num_heads=2, feedforward_channels=24)
SMALL = dict(arch=ARCH, img_size=16, patch_size=4)


def gaussian_batches(correlation, components, batch_size, seed):
    """Patches and a token that correlate in each coordinate, endlessly: the truth is known.

    I = -k/2 log(1 - correlation^2) nats. One of four patches is visible; 12 further coordinates of
    the token say nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    width = components + 12
    while True:
        token_B1D = torch.randn(batch_size, 1, width, generator=generator)
        own_BLk = torch.randn(batch_size, 4, components, generator=generator)
        patches_BLk = correlation * token_B1D[..., :components]
        patches_BLk = patches_BLk + (1 - correlation**2) ** 0.5 * own_BLk
        class_B1D = torch.zeros(batch_size, 1, width)
        visible_B1 = torch.zeros(batch_size, 1, dtype=torch.long)
        yield Batch(torch.cat([class_B1D, token_B1D], dim=1), visible_B1, patches_BLk)


def check_on_gaussians(correlation, components=4, steps=600, batch_size=128, images=25600):
    """:func:`measure` on Gaussians, with the ``truth`` beside it."""
    torch.manual_seed(0)
    batches = gaussian_batches(correlation, components, batch_size, seed=0)
    truth = -components / 2 * math.log(1 - correlation**2)
    return dict(truth=truth, **fit_and_measure(batches, steps, images // batch_size))


def fit_and_measure(batches, steps, length):
    first = next(batches)
    patches = torch.cat([batch.patches_BLk for batch in islice(batches, 60)]).flatten(0, 1)
    probe = InformationProbe(first.tokens_BnD.shape[-1], 4, PatchMarginal(patches), groups=4)
    fit_probe(probe, batches, steps)
    return measure(probe, islice(batches, length))


def clusters(batch_size, tells, seed=0):
    """Patches of three narrow clusters; the token tells which, or nothing. log 3 nats, or 0.

    No Gaussian describes the patches: one in place of their density would find 5 nats in nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[-1.2, 0.0], [0.0, 1.2], [1.2, -1.2]])
    while True:
        cluster_B = torch.randint(3, (batch_size,), generator=generator)
        noise_BLk = torch.randn(batch_size, 4, 2, generator=generator)
        patches_BLk = centres[cluster_B][:, None] + 0.05 * noise_BLk
        token_B = cluster_B if tells else torch.randint(3, (batch_size,), generator=generator)
        tokens_BnD = torch.zeros(batch_size, 2, 16)
        tokens_BnD[torch.arange(batch_size), 1, token_B] = 1.0
        yield Batch(tokens_BnD, torch.zeros(batch_size, 1, dtype=torch.long), patches_BLk)


@pytest.mark.parametrize('tells, truth', [(True, math.log(3)), (False, 0.0)])
def test_patches_that_no_gaussian_describes(tells, truth):
    torch.manual_seed(0)
    found = fit_and_measure(clusters(64, tells), steps=80, length=40)
    for name in ('barber_agakov', 'infonce'):
        assert found[name] == pytest.approx(truth, abs=0.1)


def test_the_marginal_is_scikit_learns_mixture():
    from sklearn.mixture import GaussianMixture

    patches = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * 2 + 1
    marginal = PatchMarginal(patches, seed=1)
    mixture = GaussianMixture(MIXTURE, reg_covar=1e-3, tol=1e-4, max_iter=200, random_state=1)
    mixture.fit(patches.double().numpy())
    found = marginal.log_density(marginal.whiten(patches[:, None]))[:, 0]
    expected = torch.from_numpy(mixture.score_samples(patches.double().numpy())).float()
    assert torch.allclose(found, expected, atol=1e-4)


def test_a_changed_component_is_the_density_of_its_gaussian():
    """Where one component has all the weight, of the mean and variances that were asked for."""
    marginal = PatchMarginal(torch.randn(200, 2, generator=torch.Generator().manual_seed(0)))
    x = torch.tensor([[[0.3, -0.4]]])
    logit = torch.full((1, 1, MIXTURE), -1e4)
    logit[..., 5] = 1e4
    mean = torch.tensor([0.5, -0.2]).expand(1, 1, MIXTURE, 2)
    scale = torch.tensor([0.7, -0.3]).expand(1, 1, MIXTURE, 2)
    found = marginal.log_density(marginal.whiten(x), logit, mean, scale)
    unwhiten = torch.linalg.inv(marginal.whiten_Jkk[5]).T  # x = mean + unwhiten @ u
    spread = unwhiten @ torch.diag((scale[0, 0, 0] / 2).exp())
    expected = torch.distributions.MultivariateNormal(
        marginal.mean_Jk[5] + unwhiten @ mean[0, 0, 0], spread @ spread.T
    ).log_prob(x)
    assert torch.allclose(found, expected, atol=1e-4)


def test_fewer_patches_than_components_of_the_mixture_are_refused():
    with pytest.raises(DataError, match='15 patches: a mixture of 16'):
        PatchMarginal(torch.randn(15, 2))


@pytest.mark.slow
@pytest.mark.parametrize('correlation', [0.3, 0.6, 0.7])
def test_both_estimates_are_within_5_percent_of_the_truth(correlation):
    found = check_on_gaussians(correlation)
    for name in ('barber_agakov', 'infonce'):
        assert found[name] == pytest.approx(found['truth'], rel=0.05)


def test_a_short_fit_comes_near_the_truth_and_stays_below():
    found = check_on_gaussians(0.6, steps=150, batch_size=64, images=6400)
    for name in ('barber_agakov', 'infonce'):
        assert 0.85 * found['truth'] < found[name]
        assert found[name] < found['truth'] + 3 * found[f'{name}_error']


def test_no_information_is_found_where_there_is_none():
    found = check_on_gaussians(0.0, steps=50, batch_size=32, images=3200)
    assert found['truth'] == 0
    for name in ('barber_agakov', 'infonce'):
        assert abs(found[name]) < 0.1


def test_infonce_stays_below_its_ceiling_where_there_is_more():
    found = check_on_gaussians(0.9999, components=8, steps=60, batch_size=16, images=160)
    assert found['ceiling'] == pytest.approx(math.log(13))
    assert found['infonce'] <= found['ceiling'] < found['truth']


def test_patches_of_group_mates_are_no_candidates():
    torch.manual_seed(0)
    batch = next(gaussian_batches(0.5, 4, 8, seed=0))
    probe = InformationProbe(16, 4, PatchMarginal(batch.patches_BLk.flatten(0, 1)), 4).eval()
    other = batch.patches_BLk.clone()
    other[1:4] = 100 * torch.randn_like(other[1:4])  # the mates of image 0
    with torch.no_grad():
        before, after = probe(batch)[1], probe(Batch(*batch[:2], other))[1]
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[4:], after[4:])


def test_coordinates_are_scikit_learns_principal_components_standardised():
    from sklearn.decomposition import PCA

    rng = torch.Generator().manual_seed(0)
    mixing = torch.randn(12, 12, generator=rng)
    images = [torch.randn(20, 6, 12, generator=rng) @ mixing + 3 for _ in range(4)]
    found = PatchCoordinates(lambda x: x, 5).fit(lambda: iter(images))
    patches = torch.cat(images)
    pca = PCA(5).fit(patches.flatten(0, 1).numpy())
    assert found.share == pytest.approx(pca.explained_variance_ratio_.sum(), rel=1e-5)
    values = found(patches)
    assert values.mean(dim=0).abs().max() < 1e-4
    assert torch.allclose(values.std(dim=0, correction=0), torch.ones(6, 5), atol=1e-4)
    expected = pca.transform(patches.flatten(0, 1).numpy()).reshape(80, 6, 5)[..., ::-1]
    for component in range(5):  # up to sign, at each position
        one, other = values[:, 0, component].numpy(), expected[:, 0, component]
        assert abs(np.corrcoef(one, other)[0, 1]) == pytest.approx(1, abs=1e-4)
    with pytest.raises(DataError, match='12 values'):
        PatchCoordinates(lambda x: x, 13).fit(lambda: iter(images))


def test_no_images_are_no_measurement():
    with pytest.raises(DataError, match='Too few'):
        measure(InformationProbe(16, 4, PatchMarginal(torch.randn(16, 4)), groups=4), [])


@pytest.fixture(scope='module')
def study(tmp_path_factory):
    """Configs and checkpoints of an MAE and a MixedAE, and a probe's config on 24 images."""
    root = tmp_path_factory.mktemp('study')
    rng = np.random.default_rng(0)
    for split in ('train', 'test'):
        for label in ('ant', 'bee'):
            (root / split / label).mkdir(parents=True)
            for i in range(12):
                image = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
                cv2.imwrite(str(root / split / label / f'{i}.png'), image)
    configs = {}
    for name in ('mae', 'mixedae'):
        config = configs[name] = Config.fromfile(f'configs/{name}/vitt_cifar10_2000e.py')
        config.model.backbone.update(SMALL)
        config.model.neck.update(decoder_embed_dim=8, decoder_depth=1, decoder_num_heads=2)
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = MODELS.build(derive(config)[0].model)
        told = dict(method=name, variant={})
        torch.save(dict(state_dict=model.state_dict(), mixae=told), root / f'{name}.pth')
    data = Config.fromfile('configs/transfer/cifar/cifar10_vitt_knn.py')
    data.model.backbone.update(SMALL)
    for name in ('train_features', 'test_dataloader'):
        data[name].dataset.dataset.data_root = str(root)
        data[name].num_workers = 0
    return root, configs, data


QUICK = Protocol(steps=3, batch_size=8, components=4)


def test_a_record_of_every_row(study, tmp_path):
    root, configs, data = study
    rows = {}
    for name in ('mae', 'mixedae'):
        checkpoint = str(root / f'{name}.pth')
        rows[name] = mutual_information(configs[name], checkpoint, data, QUICK, folder=tmp_path)
    scratch = mutual_information(configs['mae'], 'scratch', data, QUICK, folder=tmp_path)
    again = mutual_information(configs['mae'], 'scratch', data, QUICK)
    assert scratch == again
    records = {record['method']: record for record in read_records([tmp_path])}
    assert set(records) == {'mae', 'mixedae', 'random'}
    for name, found in rows.items():
        told = records[name]['metrics']
        assert told['barber_agakov']['value'] == found['barber_agakov']
        assert told['ceiling']['value'] == pytest.approx(math.log(5))
        assert 'on training images: Barber-Agakov' in records[name]['notes']
    assert records['mae']['protocol']['version'] == '1; steps=3; batch_size=8; components=4'
    table = format_table(rows, 'notes')
    assert '| mae |' in table and 'log N' in table


def test_a_variant_is_measured_as_it_was_trained(study, tmp_path):
    """The overrides of naive mixing, as the suite's command lines give them."""
    root, configs, data = study
    naive = deepcopy(configs['mixedae'])
    options = ['model.attention.mode=global', 'model.contrast=None', 'model.segment_embed=False']
    merge_options(naive, options)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        state = MODELS.build(derive(naive)[0].model).state_dict()
    told = dict(method='mixedae', variant=describe_variant(naive))
    torch.save(dict(state_dict=state, mixae=told), tmp_path / 'naive.pth')
    found = mutual_information(naive, str(tmp_path / 'naive.pth'), data, QUICK, folder=tmp_path)
    (record,) = read_records([tmp_path])
    assert (
        record['variant'] == told['variant'] and record['extra']['groups'] == found['groups'] == 4
    )
    with pytest.raises(CheckpointError, match='give the config of that run'):
        mutual_information(configs['mixedae'], str(tmp_path / 'naive.pth'), data, QUICK)


def test_what_does_not_belong_together_is_refused(study):
    root, configs, data = study
    mae = str(root / 'mae.pth')
    with pytest.raises(CheckpointError, match='was trained as mae'):
        mutual_information(configs['mixedae'], mae, data, QUICK)
    naive = deepcopy(configs['mixedae'])
    naive.model.attention.mode = 'global'
    with pytest.raises(CheckpointError, match='mode.*global'):
        mutual_information(naive, str(root / 'mixedae.pth'), data, QUICK)
    imae = Config.fromfile('configs/imae/vitt_cifar10_2000e.py')
    with pytest.raises(ConfigError, match='measured of MAE and'):
        mutual_information(imae, mae, data, QUICK)
    with pytest.raises(DataError, match='24 images.*batch of 32'):
        mutual_information(configs['mae'], mae, data, Protocol(batch_size=32))
    with pytest.raises(ConfigError, match='train_features'):
        mutual_information(configs['mae'], mae, configs['mae'], QUICK)
    same = deepcopy(data)
    same.test_dataloader.dataset.dataset.data_prefix = 'train'
    with pytest.raises(DataError, match='24 of the 24 test images are training images'):
        mutual_information(configs['mae'], mae, same, QUICK)
    with pytest.raises(CheckpointError, match='no checkpoint at'):
        mutual_information(configs['mae'], 'absent.pth', data, QUICK)
    with pytest.raises(ConfigError, match='steps=0'):
        Protocol(steps=0)
    odd = deepcopy(configs['mae'])
    odd.model.backbone.mask_ratio = 0.6
    with pytest.raises(CheckpointError, match=r'mask_ratio.: 0\.6}: give the config of that run'):
        mutual_information(odd, mae, data, QUICK)
    torch.save(dict(state_dict=torch.load(mae)['state_dict']), root / 'silent.pth')
    with pytest.raises(ConfigError, match='must tile an image.*0.4'):
        mutual_information(odd, str(root / 'silent.pth'), data, QUICK)
    with pytest.raises(ConfigError, match='must tile an image: A batch of 10'):
        mutual_information(configs['mae'], mae, data, Protocol(batch_size=10))
