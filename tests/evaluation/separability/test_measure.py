"""Table 4's measure against scikit-learn on all features at once."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from sklearn.metrics import r2_score
from sklearn.metrics.pairwise import cosine_similarity
from torch import nn
from torch.utils.data import DataLoader

from mixae.datasets.pair_sampler import PairSampler
from mixae.errors import ConfigError
from mixae.evaluation.separability.measure import linear_separability
from mixae.evaluation.separability.protocol import Protocol

L, D = 16, 12


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


def test_a_mask_that_leaves_nothing_to_compare_is_refused(models):
    with pytest.raises(ConfigError, match=r'mask_ratio=0\.99: none of the \d+ patches'):
        _, teacher = models
        protocol = Protocol(mask_ratio=0.99)
        linear_separability(dict(row=teacher), teacher, Batch(), None, None, protocol)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(fit_part=0.0), 'fit_part=0.0'),
        (dict(mask_ratio=1.0), 'mask_ratio=1.0'),
        (dict(alpha=-1.0), 'alpha=-1.0'),
        (dict(subordinate=0.7), '0.7'),
        (dict(normalizer='iqr'), 'iqr'),
        (dict(beta=-1.0), "'beta': -1.0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ConfigError, match=message):
        Protocol(**options)
