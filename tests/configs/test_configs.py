"""Every config of pre-training and classification resolves, builds and reads an image."""

import argparse
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from PIL import Image
from torch import nn

from mixae.checkpoints.load import FINAL_NORM
from mixae.derive import derive
from mixae.engine.hooks.provenance import describe_variant
from mixae.registry import MODELS
from mixae.results.names import settings_apart

ROOT = Path(__file__).parents[2] / 'configs'
METHODS = ('mae', 'mixedae', 'imae')
PRETRAIN = sorted(p.relative_to(ROOT) for k in METHODS for p in (ROOT / k).glob('*.py'))
PROTOCOLS = ('finetune', 'linear', 'sweep', 'attentive', 'lbfgs', 'knn', 'scratch')
TRANSFER = sorted(
    p.relative_to(ROOT)
    for p in (ROOT / 'transfer').glob('*/*.py')
    if p.stem.rsplit('_', 1)[-1] in PROTOCOLS
)
MIXEDAE = 'mixedae/vitmini_digits_12e.py'
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader', 'train_features')


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def load(path, world_size=8, overrides=None) -> Config:
    cfg = Config.fromfile(ROOT / path)
    if 'pretrained' in cfg:
        cfg.pretrained = 'scratch'
    cfg.merge_from_dict(overrides or {})
    return derive(cfg, world_size)[0]


@pytest.mark.parametrize('path', PRETRAIN, ids=str)
def test_a_pretraining_is_named_by_its_epochs(path):
    assert path.stem.endswith(f'_{load(path).train_cfg.max_epochs}e')


def test_what_is_off_in_a_variant_is_false():
    path = 'imae/vitt_cifar10_2000e.py'
    on = dict(distill=1.0, disentangle=True, mix='beta=1.0', same_class_ratio=None)
    off = {'model.distill': None, 'model.disentangle': None}
    assert describe_variant(load(path)).items() >= on.items()
    told = describe_variant(load(path, overrides=off))
    assert told.items() >= {**on, 'distill': False, 'disentangle': False}.items()


def written(path, overrides) -> dict:
    """The variant as a run describes it: nothing is derived yet."""
    cfg = Config.fromfile(ROOT / path)
    cfg.merge_from_dict(overrides)
    derive(cfg)  # it is a config that can be run
    return describe_variant(cfg)


def test_a_part_that_is_off_is_named_once():
    variant = written(MIXEDAE, {'model.contrast': None})
    assert settings_apart('mixedae', variant) == dict(contrast='off')


@pytest.mark.parametrize(
    'option, shown',
    [
        ({'model.contrast.layer': 1}, dict(contrast_layer=1)),
        ({'model.contrast.layer': 0}, dict(contrast_layer=0)),
        ({'model.contrast.temperature': 0.1}, dict(temperature=0.1)),
        ({'model.contrast.subtract_segment': True}, dict(contrast_subtract_segment=True)),
        ({'model.attention.subtract_segment': True}, dict(topk_subtract_segment=True)),
        ({'model.segment_embed': 'decoder'}, dict(segment_embed='decoder')),
        ({'model.segment_embed': False}, dict(segment_embed='off')),
    ],
    ids=str,
)
def test_a_variant_of_the_contrastive_task_shows_what_is_set(option, shown):
    variant = written(MIXEDAE, option)
    assert settings_apart('mixedae', variant) == shown


def test_nothing_is_left_out():
    assert len(PRETRAIN) >= 22
    assert {p.parent.name for p in TRANSFER} >= {'cifar', 'imagenet', 'digit_scenes'}


@pytest.mark.parametrize('path', PRETRAIN + TRANSFER, ids=str)
def test_model_optimiser_and_pipelines_build(path, tmp_path):
    cfg = load(path)
    model_config = cfg.model
    if cfg.model.type == 'mixae.IMAE':
        model_config = {**cfg.model, 'distill': None}  # the teacher's checkpoint is not there
    with torch.device('meta'):
        model = MODELS.build(model_config)
    backbone = cfg.model.backbone
    assert model.backbone.num_patches == (backbone.img_size // backbone.patch_size) ** 2

    if cfg.get('train_cfg'):
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        rate = max(group['lr'] for group in wrapper.optimizer.param_groups)
        assert rate == pytest.approx(cfg.optim_wrapper.optimizer.lr)
        batch = cfg.train_dataloader.batch_size * 8
        assert rate == pytest.approx(cfg.base_lr * batch / 256)
        assert [s.end for s in cfg.param_scheduler][-1] == cfg.train_cfg.max_epochs

    size = backbone.img_size
    photo = np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8)
    image = tmp_path / 'image.png'
    Image.fromarray(photo).save(image)
    seen = 0
    for name in LOADERS:
        if cfg.get(name):
            pipeline = Compose(cfg[name].dataset.dataset.pipeline)
            info = dict(img_path=str(image), gt_label=1, sample_idx=0)
            info |= dict(img=photo, img_shape=photo.shape[:2], ori_shape=photo.shape[:2])
            out = pipeline(info)
            assert out['inputs'].shape == (3, size, size), name
            seen += 1
    assert seen >= 1


@pytest.mark.parametrize(
    'path, lr, weight_decay, warmup',
    [
        ('mae/vitb_800e.py', 2.4e-3, 0.05, 40),
        ('mixedae/vitb_800e.py', 2.4e-3, 0.05, 40),
        ('transfer/imagenet/vitb_finetune.py', 2e-3, 0.05, 5),
        ('transfer/imagenet/vitb_linear.py', 6.4, 0.0, 10),
    ],
)
def test_recipes_are_maes_on_eight_gpus(path, lr, weight_decay, warmup):
    """He et al. 2022, Tables 8, 9 and 10: 1.5e-4, 5e-4 and 0.1 for 256 images."""
    cfg = load(path)
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.lr == pytest.approx(lr)
    assert optimizer.weight_decay == weight_decay
    assert cfg.param_scheduler[0].end == warmup


def test_linear_probing_scales_the_rate_of_weights_alone_as_maes_lars_does():
    cfg = load('transfer/imagenet/vitb_linear.py')
    model = nn.Module()
    model.fc = nn.Linear(8, 4)
    # mixae's wrapper with AMP off, so that a CPU will do.
    wrapper = dict(cfg.optim_wrapper.to_dict(), type='OptimWrapper')
    groups = build_optim_wrapper(model, wrapper).optimizer.param_groups
    excluded = {len(g['params'][0].shape): g.get('lars_exclude', False) for g in groups}
    assert excluded == {1: True, 2: False}


@pytest.mark.parametrize('mixedae', [p for p in PRETRAIN if p.parts[0] == 'mixedae'], ids=str)
def test_every_mixedae_row_has_its_mae_row_at_the_same_budget(mixedae):
    ours, mae = load(mixedae), load(Path('mae', mixedae.name))
    for get in (
        lambda c: c.train_cfg.max_epochs,
        lambda c: c.train_dataloader.batch_size,
        lambda c: c.optim_wrapper.to_dict(),
        lambda c: c.train_dataloader.dataset.to_dict(),
        lambda c: {**c.model.backbone.to_dict(), 'mask_ratio': None},
        lambda c: c.model.neck.to_dict(),
    ):
        assert get(ours) == get(mae)
    assert mae.model.backbone.mask_ratio == 1 - ours.model.mix_ratio


STUDENTS = [p for p in PRETRAIN if p.parts[0] == 'imae']


@pytest.mark.parametrize('path', STUDENTS, ids=str)
def test_every_imae_finds_the_mae_of_its_name_as_its_teacher(path):
    student = load(path)
    # Both images of a pair are seen: the small configs train for half their teacher's epochs.
    small = {
        'vitmini_digits_6e.py': 'vitmini_digits_12e.py',
        'vit128x6_cifar10_3e.py': 'vit128x6_cifar10_6e.py',
    }
    name = small.get(path.name, path.name)
    teacher = load(Path('mae', name))
    assert student.model.backbone == teacher.model.backbone
    epochs = teacher.train_cfg.max_epochs
    expected = f'work_dirs/mae/{Path(name).stem}/epoch_{epochs}.pth'
    assert student.model.teacher.checkpoint == expected
    assert student.train_dataloader.dataset == teacher.train_dataloader.dataset
    assert student.model.neck == teacher.model.neck


def readme_overrides():
    text = (ROOT / 'imae' / 'README.md').read_text()
    found = re.findall(r'`((?:model|train_dataloader)\.[^`]*)`', text)
    return [override for override in found if 'PATH' not in override and 'FILE' not in override]


@pytest.mark.parametrize('override', readme_overrides())
def test_overrides_of_the_readme_work_on_every_imae(override):
    parser = argparse.ArgumentParser()
    parser.add_argument('--o', nargs='+', action=DictAction)
    given = parser.parse_args(['--o', *override.split()]).o
    for path in STUDENTS:
        cfg = load(path, overrides=given)
        with torch.device('meta'):
            model = MODELS.build({**cfg.model, 'distill': None})
        assert describe_variant(cfg) != describe_variant(load(path)) or 'arch' in override
        if cfg.model.distill is not None:
            assert MODELS.build(cfg.model.distill).weight > 0
        assert model.neck.decoder_embed.in_features == model.backbone.embed_dims


@pytest.mark.parametrize('path', TRANSFER, ids=str)
def test_every_encoder_of_a_data_set_is_the_pretrained_one(path):
    """What was pre-trained at a size loads into each protocol of that data set."""
    folder, arch = path.parts[1], path.stem.split('_')[0]
    pretraining = dict(
        imagenet=f'{arch}_800e',
        small_sets='vitb_800e',
        cifar='vitt_cifar10_2000e',
        tiny_imagenet='vits_tiny_imagenet_1000e',
        digit_scenes='vitmini_digits_12e',
    )[folder]
    if 'vit128x6' in path.stem:
        pretraining = 'vit128x6_cifar10_6e'
    with torch.device('meta'):
        mae, transfer = (
            MODELS.build(load(p).model.backbone).state_dict()
            for p in (Path('mae', f'{pretraining}.py'), path)
        )
    expected, actual = (
        {k: v.shape for k, v in state.items() if k not in FINAL_NORM} for state in (mae, transfer)
    )
    assert actual == expected
