"""Verdicts on claims, from records whose answer is known."""

from dataclasses import replace
from pathlib import Path

import pytest

from mixae.results.claims import CLAIMS, Claim, RowOf
from mixae.results.names import COLUMNS, METHODS
from mixae.results.record import metric, new_record, read_records
from mixae.results.verdicts import (
    CONFIRMED,
    NOT_RUN,
    REFUTED,
    UNDECIDED,
    claims_page,
    findings,
    judge,
)

ROOT = Path(__file__).parents[2]

UNKNOWN = dict.fromkeys(
    ('config', 'config_sha256', 'seconds', 'device', 'device_count', 'flops', 'teacher', 'commit')
)


def record(method, value, seed, images_seen=100, name='accuracy/top1', task='linear', **variant):
    return new_record(
        task=task,
        protocol=dict(name='linear', version='1'),
        method=method,
        variant=variant,
        backbone=dict(arch='ViT-Mini', patch_size=8, img_size=64),
        dataset=dict(name='digit_scenes', description=None, split='test', n_train=1, n_test=1),
        metrics={name: metric(value)},
        seed=seed,
        pretraining=dict(
            UNKNOWN,
            checkpoint=f'{method}{seed}.pth',
            sha256=None,
            dataset='digit_scenes',
            epochs=1,
            images_seen=images_seen,
            labels_in_pretraining=False,
            seed=seed,
        ),
        config=dict(path=None, sha256='0' * 64),
    )


BETTER = Claim('A', 'better', ('linear',), RowOf('mixedae'), 'cmd', RowOf('mae'))


def rows(gains, **options):
    return [
        made
        for seed, gain in enumerate(gains)
        for made in (
            record('mae', 40 + seed, seed),
            record('mixedae', 40 + seed + gain, seed, **options),
        )
    ]


@pytest.mark.parametrize(
    'gains, verdict',
    [
        ([2, 2.1, 1.9], CONFIRMED),
        ([-2, -2.1, -1.9], REFUTED),
        ([2, -2, 1], UNDECIDED),
        ([5], UNDECIDED),
    ],
)
def test_the_interval_over_seeds_decides(gains, verdict):
    (found,) = findings(rows(gains), [BETTER])
    assert found.verdict == verdict
    assert f'{len(gains)} seed' in found.budget and '100 images seen' in found.budget


def test_rows_of_other_budgets_or_settings_say_nothing():
    assert findings([], [BETTER])[0].verdict == NOT_RUN
    assert findings(rows([2, 2.1, 1.9], images_seen=200), [BETTER])[0].verdict == NOT_RUN
    assert findings(rows([2, 2.1, 1.9], mode='global'), [BETTER])[0].verdict == NOT_RUN
    naive = Claim('A', '', ('linear',), RowOf('mixedae', dict(mode='global')), 'c', RowOf('mae'))
    assert findings(rows([2, 2.1, 1.9], mode='global'), [naive])[0].verdict == CONFIRMED


def test_rows_of_other_budgets_are_compared_where_a_claim_says_so():
    records = rows([2, 2.1, 1.9], images_seen=200)
    assert findings(records, [replace(BETTER, equal_images=False)])[0].verdict == CONFIRMED


def test_rows_of_other_seeds_are_compared_over_those_they_share():
    records = [*rows([2, 2.1, 1.9]), record('mae', 90, 3)]
    (found,) = findings(records, [BETTER])
    assert found.value.startswith('43.00 against 41.00: +2.00')


def test_a_checkpoint_from_before_the_end_is_no_finding_of_its_own():
    records = rows([2, 2.1, 1.9])
    early = rows([-5, -5.1, -4.9])
    for one in early:
        one['pretraining'] |= dict(part='1e-of-4e', images_seen=25)
    (found,) = findings(records + early, [BETTER])
    assert found.verdict == CONFIRMED


def test_chance_is_counted_over_what_could_be_decided():
    level = replace(BETTER, base=None)
    found = findings(rows([2, 2.1, 1.9]), [BETTER, level])
    assert [one.could_tell for one in found] == [True, False]
    assert not findings(rows([5]), [BETTER])[0].could_tell


def test_a_claim_about_data_looks_at_rows_of_that_data_alone():
    records = rows([2, 2.1, 1.9])
    assert findings(records, [replace(BETTER, data='digit_scenes')])[0].verdict == CONFIRMED
    assert findings(records, [replace(BETTER, data='digit_scenes_many')])[0].verdict == NOT_RUN


def test_a_level_is_between_its_limits():
    claim = Claim('A', '', ('linear',), RowOf('mae'), 'c', low=70, high=80)
    for values, verdict in (
        ((74, 75, 76), CONFIRMED),
        ((59, 60, 61), REFUTED),
        ((89, 90, 91), REFUTED),
        ((69, 70, 71), UNDECIDED),
    ):
        records = [record('mae', value, seed) for seed, value in enumerate(values)]
        assert findings(records, [claim])[0].verdict == verdict
    assert judge(1, 2, BETTER) == CONFIRMED and judge(-1, 2, BETTER) == UNDECIDED


def test_the_page_holds_every_claim_and_its_numbers():
    page = claims_page(rows([2, 2.1, 1.9]))
    for claim in CLAIMS:
        assert claim.text in page and claim.command in page
    assert (
        '| **confirmed** | Linear (%), digit scenes, linear | 43.00 against 41.00: +2.00 ± 0.25 |'
        in page
    )
    assert '| MixedAE, results | 1 confirmed |' in page
    untested = sum(one.verdict == NOT_RUN for one in findings(rows([2, 2.1, 1.9])))
    assert f'{len(CLAIMS)} claims, {untested} of them not yet run.' in ' '.join(page.split())
    assert page.count(f'**{NOT_RUN}**') >= len(CLAIMS) - 4


def test_every_claim_names_methods_settings_and_columns_that_there_are():
    for claim in CLAIMS:
        for row in filter(None, (claim.row, claim.base)):
            assert set(row.settings) <= set(METHODS[row.method].defaults)
        for column in claim.columns:
            assert column in COLUMNS or column.startswith('features:')


def test_the_committed_page_is_what_the_committed_records_give():
    """``tools/analysis/claims.py docs/results --out docs/analysis/claims.md`` writes it."""
    page = (ROOT / 'docs/analysis/claims.md').read_text()
    assert page == claims_page(read_records([ROOT / 'docs/results']))
