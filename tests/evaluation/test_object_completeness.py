"""Attention, patches and boxes against masks, where the answer is known."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mixae.derive import derive
from mixae.errors import ConfigError, DataError
from mixae.evaluation.object_completeness import (
    METRICS,
    Completeness,
    Scene,
    View,
    box_iou,
    format_table,
    keep_mass,
    look,
    lost_box,
    mask_iou,
    object_completeness,
    patch_retrieval,
)
from mixae.registry import MODELS
from mixae.results.record import read_records

GRID = (6, 8)
L = 48


def object_at(top, left, bottom, right) -> torch.Tensor:
    mask = torch.zeros(GRID, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def test_the_fewest_patches_with_the_mass_are_kept():
    attention = torch.tensor([[0.1, 0.5, 0.05, 0.3, 0.05], [0.2, 0.2, 0.2, 0.2, 0.2]])
    assert keep_mass(attention, 0.6).int().tolist() == [[0, 1, 0, 1, 0], [1, 1, 1, 0, 0]]
    assert keep_mass(attention, 0.5).int().tolist()[0] == [0, 1, 0, 0, 0]


def test_iou_by_shares_of_patches_is_the_iou_in_pixels():
    rng = torch.Generator().manual_seed(0)
    pixels = torch.rand(24, 32, generator=rng) > 0.6
    selected = torch.rand(GRID, generator=rng) > 0.5
    coverage = torch.nn.functional.avg_pool2d(pixels[None].float(), 4).flatten()
    upsampled = selected.repeat_interleave(4, 0).repeat_interleave(4, 1)
    expected = (upsampled & pixels).sum() / (upsampled | pixels).sum()
    assert mask_iou(selected.flatten(), coverage) == pytest.approx(float(expected))


def test_retrieval_is_perfect_inside_an_object_of_its_own_and_chance_without():
    members = object_at(1, 2, 4, 6).flatten()
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(L, 64, generator=rng)
    apart = noise * 0.1 + members[:, None] * torch.ones(64)
    assert patch_retrieval(apart, members) == 1
    values = [patch_retrieval(torch.randn(L, 64, generator=rng), members) for _ in range(100)]
    assert np.mean(values) == pytest.approx(11 / 47, abs=0.02)


def test_lost_finds_the_box_of_an_object_on_a_uniform_background():
    members = object_at(1, 2, 4, 6).flatten()
    keys = torch.where(members[:, None], torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 0.2]))
    assert lost_box(keys, GRID).tolist() == [2, 1, 6, 4]
    # A second object of the same kind is not connected, and no part of the box.
    both = members | object_at(5, 7, 6, 8).flatten()
    keys = torch.where(both[:, None], torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 0.2]))
    assert lost_box(keys, GRID).tolist() == [2, 1, 6, 4]


def test_iou_of_boxes_is_torchvisions():
    from torchvision.ops import box_iou as reference

    rng = np.random.default_rng(0)
    low, high = rng.uniform(0, 5, (9, 2)), rng.uniform(6, 9, (9, 2))
    boxes = np.concatenate([low, high], axis=1)
    expected = reference(torch.from_numpy(boxes[:1]), torch.from_numpy(boxes[1:]))[0]
    assert np.allclose(box_iou(boxes[0], boxes[1:]), expected)


def scene(members: torch.Tensor, patch=4) -> Scene:
    pixels = members.repeat_interleave(patch, 0).repeat_interleave(patch, 1)
    rows, columns = np.nonzero(pixels.numpy())
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return Scene(torch.zeros(3, 24, 32), pixels[None], np.array([box], dtype=float))


def test_an_encoder_that_sees_objects_whole_has_full_marks():
    members = object_at(1, 2, 4, 6)
    flat = members.flatten()
    attention = torch.stack([flat.float() / flat.sum(), torch.ones(L) / L])[None]
    keys = torch.where(flat[:, None], torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 0.2]))[None]
    sums = Completeness(patch=4)
    sums.update(View(attention, keys, keys, GRID), 0, scene(members))
    found = sums.compute()
    assert found['corloc'] == found['patch_retrieval'] == 1
    # 60 % of the mass of equal patches are 8 of 12.
    assert found['attention_iou_best'] == pytest.approx(8 / 12)
    assert found['chance/patch_retrieval'] == pytest.approx(11 / 47)
    assert found['chance/corloc'] == 0


def test_scenes_without_objects_of_two_patches_are_no_measurement():
    sums = Completeness(patch=4)
    view = View(torch.ones(1, 2, L) / L, torch.rand(1, L, 4), torch.rand(1, L, 4), GRID)
    one = scene(object_at(1, 2, 2, 3))
    sums.update(view, 0, one)
    with pytest.raises(DataError, match='patch_retrieval: no object'):
        sums.compute()
    with pytest.raises(DataError, match='no multiple of the patch'):
        Completeness(patch=5).update(view, 0, one)


@pytest.fixture
def digits():
    config = Config.fromfile('configs/analysis/objects_digit_scenes.py')
    config.test_dataloader.dataset.indices = 6
    config.test_dataloader.batch_size = 3
    return config


def test_attention_is_what_the_layer_computes(digits):
    resolved = derive(Config(dict(digits, pretrained='scratch')), cuda=False)[0]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        encoder = MODELS.build(resolved.model.backbone)
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    view = look(encoder, images)
    assert view.grid == (16, 16) and view.attention_BHL.shape == (2, 3, 256)
    attn = encoder.layers[-1].attn
    seen = []
    handle = attn.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        features = encoder.features(images)[-1]
        handle.remove()
        out = attn(seen[0])
        values = attn.qkv(seen[0]).chunk(3, dim=-1)[2].unflatten(2, (3, 32)).transpose(1, 2)
        own = 1 - view.attention_BHL.sum(dim=-1, keepdim=True)
        weights = torch.cat([own, view.attention_BHL], dim=-1)
        expected = attn.proj((weights[:, :, None] @ values).transpose(1, 2).flatten(2))
    assert torch.allclose(out[:, :1], expected, atol=1e-5)
    assert torch.equal(features[:, 1:], view.features_BLD)


def test_a_record_and_a_table_of_digit_scenes(digits, tmp_path):
    found, shown = object_completeness(digits, 'scratch', folder=tmp_path)
    assert set(METRICS) <= set(found) and len(shown) == 3
    (record,) = read_records([tmp_path])
    assert record['task'] == 'object_completeness' and record['method'] == 'random'
    assert record['metrics']['corloc']['value'] == found['corloc']
    assert '| chance |' in format_table({'scratch': found})
    small = deepcopy(digits)
    small.test_dataloader.dataset.pipeline.insert(
        2, dict(type='mmdet.Resize', scale=(100, 100), keep_ratio=False)
    )
    with pytest.raises(DataError, match='no multiple of the patch'):
        object_completeness(small, 'scratch')


def test_masks_that_are_missing_or_do_not_fit_are_refused(digits):
    without = deepcopy(digits)
    without.test_dataloader.dataset.pipeline[1]['with_mask'] = False
    with pytest.raises(DataError, match='with_mask=True'):
        object_completeness(without, 'scratch')
    late = deepcopy(digits)
    pipeline = late.test_dataloader.dataset.pipeline
    pipeline.insert(1, dict(type='mmdet.Resize', scale=(64, 64), keep_ratio=False))
    with pytest.raises(DataError, match='load annotations before Resize'):
        object_completeness(late, 'scratch')
    pooled = deepcopy(digits)
    pooled.model.backbone.out_type = 'cls_token'
    with pytest.raises(ConfigError, match="expected 'raw'"):
        object_completeness(pooled, 'scratch')


def test_coco_by_config(real_data):
    config = Config.fromfile('configs/analysis/objects_coco.py')
    config.data_root = str(real_data / 'mini-coco') + '/'
    config.model.backbone.arch = dict(
        embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=16
    )
    config.test_dataloader.dataset.indices = 4
    found, _ = object_completeness(config, 'scratch')
    assert 0 < found['attention_iou'] < 1
