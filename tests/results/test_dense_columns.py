"""The columns of detection and segmentation."""

import pytest

from mixae.results.compare import build_table
from mixae.results.record import metric


def test_each_metric_of_a_detector_has_its_own_column(make_record):
    values = {'bbox_mAP': 0.12, 'segm_mAP': 0.1, 'bbox_mAP_50': 0.31, 'segm_mAP_50': 0.29}
    metrics = {f'coco/{name}': metric(value, 'fraction') for name, value in values.items()}
    table = build_table([make_record(task='detection', metrics=metrics)])
    (row,) = table.rows
    shown = {c.kind.key: row.cells[c.id].mean for c in table.columns if not c.kind.cost}
    assert shown == pytest.approx(dict(box_ap=12, mask_ap=10, box_ap50=31, mask_ap50=29))


def test_columns_can_be_chosen_and_keep_their_order(make_record):
    metrics = {
        'coco/bbox_mAP_50': metric(0.5, 'fraction'),
        'coco/bbox_mAP': metric(0.2, 'fraction'),
    }
    records = [
        make_record(task='detection', metrics=metrics),
        make_record(task='semseg', metrics={'mIoU': metric(21.5, '%')}),
    ]
    table = build_table(records, columns=['miou', 'box_ap50'])
    assert [column.header for column in table.columns] == ['mIoU', 'Box AP50']
    assert [column.kind.key for column in table.columns] == ['miou', 'box_ap50']
    (row,) = table.rows
    assert [row.cells[column.id].mean for column in table.columns] == pytest.approx([21.5, 50])
