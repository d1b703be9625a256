"""What a table holds and what in it is compared with what."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixae.errors import TableError
from mixae.results.compare import build_table
from mixae.results.published import load_published
from mixae.results.record import read_records, write_record
from mixae.results.render.common import cell_text, footnotes

ROOT = Path(__file__).parents[2]
PUBLISHED = load_published()


_ROWS = st.lists(
    st.tuples(
        st.sampled_from(['mae', 'mixedae', 'imae', 'ours']),
        st.sampled_from(['', 'a', 'b']),  # variant
        st.booleans(),  # labels
        st.sampled_from(['vit-tiny', 'vit-small']),
        st.sampled_from([1, 2]),  # protocol version
        st.sampled_from([50.0, 50.5, 51.0, 60.0]),
    ),
    unique_by=lambda row: row[:5],
    min_size=1,
    max_size=10,
)


@settings(deadline=None, max_examples=40)
@given(_ROWS, st.booleans())
def test_ranks_are_right_and_never_mix_groups(make_runs, rows, higher_is_better):
    records, truth_of = [], {}
    for shift, (method, variant, labels, arch, version, value) in enumerate(rows):
        runs = make_runs(
            value,
            shift,
            method=method,
            variant={'v': variant} if variant else {},
            backbone=dict(arch=arch, patch_size=4, img_size=32),
            protocol=dict(name='linear probe', version=version),
            pretraining=dict(labels_in_pretraining=labels),
        )
        for record in runs:
            record['metrics']['accuracy/top1']['higher_is_better'] = higher_is_better
            truth_of[record['id']] = ((labels, arch, version), value)
        records += runs
    table = build_table(records, PUBLISHED, columns=['linear'])
    groups, published = {}, []
    for row in table.rows:
        for cell in row.cells.values():
            if cell.records:
                ((group, value),) = {truth_of[record_id] for record_id in cell.records}
                groups.setdefault(group, []).append((value, cell))
            else:
                published.append(cell)
    assert sum(map(len, groups.values())) == len(rows)
    assert published and not any(cell.rank or cell.is_tied for cell in published)
    for members in groups.values():
        members.sort(key=lambda member: member[0], reverse=higher_is_better)
        values = [value for value, _ in members]
        clear = [len(members) > 1 and values.count(values[0]) == 1]
        clear.append(clear[0] and len(members) > 2 and values.count(values[1]) == 1)
        for place, (value, cell) in enumerate(members, start=1):
            assert cell.rank == (place if place < 3 and clear[place - 1] else 0)
            tied = len(members) > 1 and not clear[0] and value == values[0]
            assert cell.is_tied == tied


def test_difference_from_the_mae_row_of_the_same_budget(make_record, cells_of):
    def run(method, value, **changes):
        return make_record(method=method, value=value, pretraining=changes)

    records = [
        run('mae', 50, epochs=12, images_seen=180),
        run('mae', 60, epochs=24, images_seen=360),
        run('mixedae', 53, epochs=12, images_seen=180),
        run('imae', 55, epochs=12, images_seen=360),  # of a mixture both images count
        run('far', 99, epochs=99, images_seen=999),
    ]
    cells = cells_of(build_table(records, columns=['linear']), 'linear')
    assert cells['mixedae', ''].delta == pytest.approx(3)
    assert cells['imae', ''].delta == pytest.approx(-5)
    assert cells['far', ''].delta is None
    assert cells['mae', ''].delta is None


def test_random_encoder_is_compared_only_where_one_mae_row_stands(make_record, cells_of):
    random = make_record(method='random', pretraining=None, value=39)
    one = make_record(value=50)
    two = make_record(value=60, pretraining=dict(epochs=24, images_seen=360_000))
    table = build_table([random, one], columns=['linear'])
    assert cells_of(table, 'linear')['random', ''].delta == pytest.approx(-11)
    assert table.rows[0].method == 'random' and table.rows[0].pretraining_text == 'none'
    table = build_table([random, one, two], columns=['linear'])
    assert cells_of(table, 'linear')['random', ''].delta is None


def test_scratch_stands_in_the_fine_tuning_column(make_runs, cells_of):
    def table(scratch, finetune):
        runs = make_runs(
            70, task='scratch', method='scratch', protocol=dict(name=scratch, version=1)
        )
        runs += make_runs(80, 1, task='finetune', protocol=dict(name=finetune, version=1))
        return build_table(runs, columns=['finetune'])

    cells = cells_of(table('ft', 'ft'), 'finetune')
    assert cells['scratch', ''].delta == pytest.approx(-10)
    assert cells['scratch', ''].delta_half == pytest.approx(0.11384, abs=1e-5), 'by hand'
    assert [cell.rank for cell in cells.values()] == [0, 1]
    # A recipe of its own is shown there too, but not compared.
    other = table('training from scratch', 'ft')
    cells = cells_of(other, 'finetune')
    assert cells['scratch', ''].delta is None
    assert [cell.rank for cell in cells.values()] == [0, 0]
    assert "from scratch: protocol 'training from scratch' 1" in '\n'.join(footnotes(other))


def test_training_from_scratch_by_two_recipes_is_two_columns(make_runs, cells_of):
    """Their mean would be a result that nobody has."""
    runs = make_runs(74, task='finetune', protocol=dict(name='ft', version=1))
    for name, value in (('ft', 40), ('scratch-300e', 60)):
        protocol = dict(name=name, version=1)
        runs += make_runs(value, 1, task='scratch', method='scratch', protocol=protocol)
    for records in (runs, runs[::-1], runs[3:]):
        table = build_table(records, columns=['finetune'])
        (row,) = (row for row in table.rows if row.method == 'scratch')
        assert sorted(cell.mean for cell in row.cells.values()) == pytest.approx([40, 60])
        assert len(table.columns) == 2


def _of_seeds(make_record, method, values):
    return [
        make_record(
            value=value,
            method=method,
            pretraining=dict(seed=s, sha256=f'{s:064x}'),
            seed=s + 100 * n,
        )
        for s, repeats in values.items()
        for n, value in enumerate(repeats)
    ]


def test_the_difference_is_over_the_seeds_that_both_rows_have_and_says_so(make_record, cells_of):
    mae = _of_seeds(make_record, 'mae', {0: [60], 1: [41], 2: [40]})
    ours = _of_seeds(make_record, 'mixedae', {1: [43.1], 2: [42], 3: [44]})
    table = build_table(mae + ours, columns=['linear'])
    cell = cells_of(table, 'linear')['mixedae', '']
    assert (cell.delta, cell.delta_pairs) == (pytest.approx(2.05), 2)
    assert ' over 2)' in cell_text(cell, table.columns[0], table.n)
    assert 'Over k: k seeds, those that both rows have' in ' '.join(footnotes(table))
    far = build_table(
        mae + _of_seeds(make_record, 'mixedae', {7: [50], 8: [51]}), columns=['linear']
    )
    assert cells_of(far, 'linear')['mixedae', ''].delta is None


def test_a_pretraining_evaluated_five_times_counts_once_in_the_mean(make_record, cells_of):
    records = _of_seeds(make_record, 'mae', {0: [60, 60, 60, 60, 60.5], 1: [50], 2: [40]})
    cell = cells_of(build_table(records, columns=['linear']), 'linear')['mae', '']
    assert cell.mean == pytest.approx((60.1 + 50 + 40) / 3)
    assert (cell.n, cell.pretrainings, len(cell.by_seed)) == (7, 3, 3)


def test_another_teacher_and_another_file_of_unknown_origin_are_other_rows(make_record, tmp_path):
    def imae(epochs):
        teacher = dict(epochs=epochs, images_seen=1000 * epochs, seconds=None, device=None)
        teacher |= dict(device_count=None, flops=None)
        return make_record(method='imae', pretraining=dict(teacher=teacher))

    table = build_table([imae(12), imae(24)], columns=['linear'])
    texts = [row.pretraining_text for row in table.rows]
    assert texts == ['CIFAR-10, 12 epochs (teacher 12)', 'CIFAR-10, 12 epochs (teacher 24)']
    paths = [write_record(record, tmp_path) for record in (imae(12), imae(24))]
    assert len(read_records(paths)) == 2  # they are no two results for one cell
    files = [
        make_record(method='unknown', value=value, pretraining=dict(seed=None, sha256=64 * digit))
        for digit, value in (('a', 40), ('b', 70))
    ]
    rows = build_table(files, columns=['linear']).rows
    assert [cell.mean for row in rows for cell in row.cells.values()] == [40, 70]


def test_a_whole_number_is_one_setting_however_it_is_written(make_record):
    records = [
        make_record(
            method='imae', variant=dict(distill=value), seed=seed, pretraining=dict(seed=seed)
        )
        for seed, value in enumerate((2, 2.0))
    ]
    (row,) = build_table(records, columns=['linear']).rows
    assert row.variant_text == 'distill=2'


def test_a_column_that_was_asked_for_and_is_not_there_is_said(make_record):
    table = build_table([make_record()], columns=['linear', 'knn', 'box_ap50'])
    assert table.notes == ['No record fills: kNN, Box AP50.']
    assert build_table([make_record()]).notes == []
    with pytest.raises(TableError, match=r"unknown column 'lineer'; did you mean linear\?"):
        build_table([make_record()], columns=['lineer'])


def test_runs_of_two_recipes_in_one_row_are_said_to_be_no_repeats(make_record):
    def run(seed, recipe):
        return make_record(seed=seed, pretraining=dict(seed=seed, recipe_sha256=recipe * 64))

    same = build_table([run(0, 'a'), run(1, 'a'), make_record(seed=2, pretraining=dict(seed=2))])
    assert same.notes == []
    (note,) = build_table([run(0, 'a'), run(1, 'b')]).notes
    assert note.startswith('MAE, CIFAR-10, 12 epochs: its pre-trainings differ in more than the se')
