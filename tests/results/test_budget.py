"""Results over the cost of pre-training: which points there are, where, and what joins them."""

import pytest

from mixae.errors import TableError
from mixae.results.compare import build_table
from mixae.visualization import budget


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws the records, and gives the left axes of the figure instead of saving it."""

    def drawn(records, column='linear'):
        figures = []
        monkeypatch.setattr(budget, 'save_figure', lambda figure, *a, **k: figures.append(figure))
        budget.plot_budget(records, column, tmp_path / 'b.png')
        return figures[0].axes[0]

    return drawn


def _points(ax):
    return sorted(
        (*map(float, point), line.get_markerfacecolor() == 'white')
        for line in ax.lines
        if line.get_marker() == 'o'
        for point in line.get_xydata()
    )


def test_points_along_a_schedule_are_hollow_and_joined_to_its_end(make_record, drawn):
    def run(value, epochs, **more):
        pretraining = dict(epochs=epochs, images_seen=1000 * epochs, flops=epochs * 1e9, **more)
        return make_record(value=value, pretraining=pretraining)

    records = [
        run(20, 2, part='2e-of-8e'),
        run(30, 4, part='4e-of-8e'),
        run(50, 8),
        run(40, 4),
        make_record(method='random', pretraining=None, value=14),
    ]
    ax = drawn(records)
    points = [(2e3, 20.0, True), (4e3, 30.0, True), (4e3, 40.0, False), (8e3, 50.0, False)]
    assert _points(ax) == points
    (joined,) = (line for line in ax.lines if len(line.get_xdata()) == 3)
    assert joined.get_xydata().tolist() == [[2e3, 20], [4e3, 30], [8e3, 50]]
    (level,) = (line for line in ax.lines if line.get_linestyle() == '--')
    assert set(level.get_ydata()) == {14} and level.get_label() == 'random encoder'


def test_a_line_is_of_the_same_runs_all_along(make_record, drawn):
    """Better runs at its end alone would make a rise that no run has."""

    def run(value, epochs, seed, **more):
        pretraining = dict(epochs=epochs, images_seen=1000 * epochs, seed=seed, **more)
        return make_record(value=value, seed=seed, pretraining=pretraining)

    records = [run(40 - seed, 2, seed, part='2e-of-4e') for seed in (3, 4)]
    records += [run(38 - seed, 4, seed) for seed in (3, 4)] + [run(90, 4, seed) for seed in (0, 1)]
    records += [run(20, 1, 0)]
    assert _points(drawn(records)) == [(1e3, 20, False), (2e3, 36.5, True), (4e3, 34.5, False)]


def test_other_data_and_other_backbones_are_other_lines(make_record, drawn):
    records = [
        make_record(value=value, pretraining=dict(dataset=data, images_seen=images))
        for data, value in (('cifar10', 60), ('cifar100', 20))
        for images in (1000, 2000)
    ]
    small = dict(arch='vit-small', patch_size=4, img_size=32)
    for backbone in ({}, dict(backbone=small)):
        records.append(make_record(method='random', pretraining=None, **backbone))
    ax = drawn(records)
    labels = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert labels == [
        'random encoder, vit-small/4, 32 px',
        'random encoder, vit-tiny/4, 32 px',
        'MAE, CIFAR-10',
        'MAE, CIFAR-100',
    ]


def test_the_middle_of_a_schedule_is_another_row_than_a_short_one(make_record, cells_of):
    part = make_record(value=20, pretraining=dict(epochs=4, part='4e-of-8e'))
    short = make_record(value=40, pretraining=dict(epochs=4))
    table = build_table([part, short], columns=['linear'])
    texts = [row.pretraining_text for row in table.rows]
    assert sorted(text.split(', ')[1] for text in texts) == ['4 epochs', '4e of 8e']
    middle, _ = sorted(table.rows, key=lambda row: not row.pretraining['part'])
    assert [cell.mean for cell in middle.cells.values()] == [20]


def test_a_curve_is_of_one_protocol(make_record, drawn):
    other = make_record(protocol=dict(name='other', version='1'))
    with pytest.raises(TableError, match='of one data set and protocol, not 2'):
        drawn([make_record(), other])
    with pytest.raises(TableError, match='no record of a pre-trained model'):
        drawn([make_record(method='random', pretraining=None)])
