"""TopK accuracy curves: read from what the hook writes, and drawn with the line of chance."""

import json

import numpy as np
import pytest
from PIL import Image

from mixae.errors import MixaeError
from mixae.visualization.curves import curve_rows, final_accuracy, plot_topk_accuracy

ROWS = [
    dict(iter=10 * i, epoch=1, chance=0.25, layers={'1': 0.3 + i / 100, '2': 0.2 + i / 50})
    for i in range(1, 21)
]


def write(path, rows, tail=''):
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows) + tail)
    return path


def test_readings_come_from_folder_or_file(tmp_path):
    path = write(tmp_path / 'topk_accuracy.jsonl', ROWS)
    assert curve_rows(tmp_path) == curve_rows(path) == ROWS


def test_a_last_line_that_a_kill_cut_short_is_left_out(tmp_path):
    path = write(tmp_path / 'topk_accuracy.jsonl', ROWS, tail='{"iter": 210, "lay')
    assert curve_rows(path) == ROWS


def test_a_record_carries_the_same_curve(tmp_path):
    curve = dict(
        x=[row['iter'] for row in ROWS],
        lines={f'layer {n}': [row['layers'][n] for row in ROWS] for n in '12'},
        reference=0.25,
    )
    path = tmp_path / 'a.record.json'
    path.write_text(json.dumps(dict(curves=dict(topk_accuracy=curve))))
    rows = curve_rows(path)
    assert [(r['iter'], r['chance'], r['layers']) for r in rows] == [
        (r['iter'], r['chance'], r['layers']) for r in ROWS
    ]


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(MixaeError, match='TopKAccuracyHook'):
        curve_rows(tmp_path)
    write(tmp_path / 'topk_accuracy.jsonl', [])
    with pytest.raises(MixaeError, match='no reading'):
        curve_rows(tmp_path)
    (tmp_path / 'a.record.json').write_text('{}')
    with pytest.raises(MixaeError, match='no reading'):
        curve_rows(tmp_path / 'a.record.json')


def test_final_accuracy_is_the_mean_of_the_last_readings():
    assert final_accuracy(ROWS) == pytest.approx({'1': 0.495, '2': 0.59})
    assert final_accuracy(ROWS[:3]) == pytest.approx(ROWS[2]['layers'])


def test_chance_is_drawn_where_it_is(tmp_path):
    """The dashed black line's height between 0 and 100 % is that of chance."""

    def black_rows(chance):
        rows = [{**row, 'chance': chance, 'layers': {'1': 0.9, '2': 0.95}} for row in ROWS]
        source = write(tmp_path / 'topk_accuracy.jsonl', rows)
        path = plot_topk_accuracy(source, tmp_path / 'new' / 'curve.png')
        picture = np.asarray(Image.open(path).convert('RGB'))[:, 100:550]
        dark = (picture.max(axis=2) < 60).sum(axis=1)
        inside = np.flatnonzero(dark > 150)  # the axis at the bottom is the other dark line
        return inside.min(), inside.max()

    (low, axis), (high, same_axis) = black_rows(0.2), black_rows(0.4)
    assert axis == same_axis
    assert (axis - high) / (axis - low) == pytest.approx(2, abs=0.05)
