"""Derived numbers follow every override; what is given explicitly stays."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mixae.derive import Facts, derive
from mixae.errors import ConfigError
from mixae.models import MaskedViT

CONFIGS = Path(__file__).parents[2] / 'configs'
SMALL = dict(embed_dims=48, num_layers=2, num_heads=2, feedforward_channels=64)


def load(path='mixedae/vitb_800e.py', **options) -> Config:
    cfg = Config.fromfile(CONFIGS / path)
    cfg.merge_from_dict({k.replace('__', '.'): v for k, v in options.items()})
    return cfg


def derived(path='mixedae/vitb_800e.py', world_size=8, **options) -> Config:
    return derive(load(path, **options), world_size)[0]


def lr(*args, **options):
    return derived(*args, **options).optim_wrapper.optimizer.lr


# The effective batch and the learning rate: MAE's rule, lr = base_lr x batch / 256.


def test_eight_processes_give_the_papers_rate():
    assert lr() == pytest.approx(1.5e-4 * 4096 / 256)


@pytest.mark.parametrize(
    'change, factor',
    [
        (dict(world_size=4), 1 / 2),
        (dict(train_dataloader__batch_size=64), 1 / 8),
        (dict(optim_wrapper__accumulative_counts=4), 4),
        (dict(base_lr=3e-4), 2),
        (dict(base_lr_batch=1024), 1 / 4),
        (dict(world_size=4, optim_wrapper__accumulative_counts=2), 1),
    ],
)
def test_rate_follows_each_of_its_sources(change, factor):
    assert lr(**change) == pytest.approx(lr() * factor)


def test_a_given_rate_wins():
    assert lr(optim_wrapper__optimizer__lr=0.123, world_size=3) == 0.123


def test_effective_batch_and_rate_are_told():
    cfg = load(train_dataloader__batch_size=64, optim_wrapper__accumulative_counts=2)
    _, notes = derive(cfg, world_size=4)
    line = next(note for note in notes if 'Effective batch' in note)
    assert 'Effective batch 512 = 64 images per process x 4 processes x 2' in line
    assert 'lr 0.0003 = base_lr 0.00015 x 512 / 256' in line
    assert Facts(cfg, 4).effective_batch == 512


def test_a_missing_base_rate_is_named():
    cfg = load()
    cfg.pop('base_lr')
    with pytest.raises(ConfigError, match='base_lr'):
        derive(cfg)


# The schedule.


@pytest.mark.parametrize('epochs, warmup', [(800, 40), (800, 10), (100, 40), (41, 40)])
def test_schedule_follows_epochs_and_warm_up(epochs, warmup):
    cfg = derived(train_cfg__max_epochs=epochs, warmup_epochs=warmup)
    linear, cosine = cfg.param_scheduler
    assert (linear.begin, linear.end) == (0, warmup)
    assert (cosine.begin, cosine.end, cosine.T_max) == (warmup, epochs, epochs - warmup)


def test_warm_up_that_does_not_fit_becomes_a_tenth_and_is_told():
    cfg, notes = derive(load(train_cfg__max_epochs=30))
    assert (cfg.param_scheduler[0].end, cfg.param_scheduler[1].T_max) == (3, 27)
    assert any('warmup_epochs=40 does not fit in 30 epochs' in note for note in notes)


@pytest.mark.parametrize('epochs', [1, 5])
def test_no_room_for_a_warm_up_leaves_the_cosine(epochs):
    (cosine,) = derived(train_cfg__max_epochs=epochs).param_scheduler
    assert (cosine.type, cosine.begin, cosine.T_max) == ('CosineAnnealingLR', 0, epochs)


def test_no_warm_up_on_request():
    (cosine,) = derived(warmup_epochs=0).param_scheduler
    assert (cosine.begin, cosine.T_max) == (0, 800)


def test_given_ends_of_the_schedule_win():
    cfg = load()
    cfg.param_scheduler[0].end = 7
    cfg.param_scheduler[1].T_max = 11
    linear, cosine = derive(cfg)[0].param_scheduler
    assert linear.end == 7
    assert cosine.T_max == 11


@pytest.mark.parametrize('epochs, interval', [(800, 4), (30, 1), (300, 2)])
def test_checkpoints_are_at_most_two_hundred_a_run(epochs, interval):
    cfg = derived(train_cfg__max_epochs=epochs)
    assert cfg.default_hooks.checkpoint.interval == interval
    given = derived(train_cfg__max_epochs=epochs, default_hooks__checkpoint__interval=5)
    assert given.default_hooks.checkpoint.interval == 5


def test_validation_is_at_the_end_unless_asked_for():
    path = 'transfer/cifar/cifar10_vitt_scratch.py'
    assert derived(path).train_cfg.val_interval == 100
    assert derived(path, train_cfg__max_epochs=7).train_cfg.val_interval == 7
    assert derived(path, train_cfg__val_interval=10).train_cfg.val_interval == 10


# The model and the pipelines.


def numbers(cfg):
    crop = cfg.train_dataloader.dataset.dataset.pipeline[1]
    model = cfg.model
    return dict(
        num_patches=model.neck.num_patches,
        neck_patch=model.neck.patch_size,
        head_patch=model.head.patch_size,
        embed_dim=model.neck.embed_dim,
        contrast=model.contrast.in_dim,
        crop=crop.scale,
    )


@pytest.mark.parametrize(
    'change, expected',
    [
        ({}, {}),
        # Of four patches the contrastive loss needs two.
        (
            dict(model__backbone__img_size=32, model__mix_ratio=0.5),
            dict(num_patches=4, crop=32),
        ),
        (
            dict(model__backbone__patch_size=8),
            dict(num_patches=784, neck_patch=8, head_patch=8),
        ),
        (dict(model__backbone__arch='s'), dict(embed_dim=384, contrast=384)),
        (dict(model__backbone__arch='ti'), dict(embed_dim=192, contrast=192)),
        (dict(model__backbone__arch='l'), dict(embed_dim=1024, contrast=1024)),
        (dict(model__neck__num_patches=9), dict(num_patches=9)),
        (dict(model__contrast__in_dim=5), dict(contrast=5)),
    ],
)
def test_model_and_crops_follow_the_encoder(change, expected):
    base = dict(
        num_patches=196, neck_patch=16, head_patch=16, embed_dim=768, contrast=768, crop=224
    )
    assert numbers(derived(**change)) == base | expected


def test_an_architecture_given_as_a_dict_counts_too():
    cfg = load()
    cfg.model.backbone.arch = SMALL
    assert numbers(derive(cfg)[0])['embed_dim'] == 48


@pytest.mark.parametrize('arch', ['mini', 'ti', 'tiny', 's', 'small', 'b', 'base', 'l'])
@pytest.mark.parametrize('img_size', [64, (64, 64)])
def test_dimensions_are_those_of_the_encoder_that_is_built(arch, img_size):
    import torch

    with torch.device('meta'):
        vit = MaskedViT(arch, img_size=img_size, patch_size=8)
    dims = MaskedViT.dimensions(dict(arch=arch, img_size=img_size, patch_size=8))
    assert (dims['width'], dims['depth'], dims['num_patches']) == (
        vit.embed_dims,
        vit.num_layers,
        vit.num_patches,
    )


def test_number_of_classes_reaches_head_preprocessor_and_mixup():
    for path, count in (('cifar10', 10), ('cifar100', 100)):
        cfg = derived(f'transfer/cifar/{path}_vitt_scratch.py')
        assert cfg.model.head.num_classes == cfg.model.data_preprocessor.num_classes == count
    cfg = derived('transfer/cifar/cifar10_vitt_scratch.py', num_classes=7)
    assert cfg.model.head.num_classes == cfg.model.data_preprocessor.num_classes == 7
    assert cfg.model.head.in_channels == 192


def test_test_crops_follow_the_input_size():
    path = 'transfer/imagenet/vitb_scratch.py'
    cfg = derived(path, model__backbone__img_size=160)
    assert cfg.train_dataloader.dataset.dataset.pipeline[1].scale == 160
    crops = [t for t in cfg.test_dataloader.dataset.dataset.pipeline if t.type == 'CenterCrop']
    assert crops[0].crop_size == 160


def test_no_workers_means_no_persistent_ones():
    assert derived().train_dataloader.persistent_workers
    assert not derived(train_dataloader__num_workers=0).train_dataloader.persistent_workers


def test_the_given_config_is_not_changed():
    cfg = load()
    before = cfg.pretty_text
    derive(cfg, 8)
    assert cfg.pretty_text == before


def test_resolving_twice_changes_nothing():
    once = derived()
    assert derive(once, 8)[0].pretty_text == once.pretty_text


# Where a transfer run starts.


def test_transfer_without_a_checkpoint_says_what_to_add():
    with pytest.raises(ConfigError, match='--pretrained CHECKPOINT, or --pretrained scratch'):
        derive(load('transfer/cifar/cifar10_vitt_finetune.py'))


def test_the_checkpoint_reaches_the_encoder():
    path = 'transfer/cifar/cifar10_vitt_finetune.py'
    assert derived(path, pretrained='a.pth').model.backbone.pretrained == 'a.pth'
    cfg, notes = derive(load(path, pretrained='scratch'))
    assert cfg.model.backbone.pretrained is None
    assert any('random weights' in note for note in notes)


@pytest.mark.parametrize(
    'encoder, start', [('old.pth', 'new.pth'), (None, 'new.pth'), ('old.pth', 'scratch')]
)
def test_an_encoder_that_starts_elsewhere_than_the_record_would_tell(encoder, start):
    cfg = load('transfer/cifar/cifar10_vitt_finetune.py', pretrained=start)
    cfg.model.backbone.pretrained = encoder
    with pytest.raises(ConfigError, match=f"{encoder!r}.*{start!r}: write .*pretrained='auto'"):
        derive(cfg)


# What is known to fail fails at start.


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(train_dataloader__batch_size=510), 'batch of 510 images .* groups of 4'),
        (dict(model__mix_ratio=0.3), 'mix_ratio=0.3'),
        (dict(model__mix_ratio=0.125, model__backbone__img_size=48), '9 patches .* group of 8'),
        (dict(train_dataloader__drop_last=False), 'drop_last=True'),
        (dict(model__backbone__arch='huge-ish'), "arch='huge-ish' is unknown: choose one of"),
        (dict(model__backbone__img_size=225), 'img_size=225 is not a multiple of patch_size=16'),
        (dict(model__backbone__img_size=(224, 100)), 'is not a multiple of patch_size=16'),
    ],
)
def test_contradictions_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        derive(load(**options))


def test_groups_are_checked_by_process_not_by_total_batch():
    with pytest.raises(ConfigError, match='batch of 2 images'):
        derive(load(train_dataloader__batch_size=2), world_size=2)


@pytest.mark.parametrize('cuda', [True, False])
def test_sync_bn_is_bn_without_a_gpu(cuda):
    cfg = load('transfer/ade20k/upernet_vitb_160k.py', pretrained='scratch')
    result, notes = derive(cfg, cuda=cuda)
    parts = (result.model.neck, result.model.decode_head, result.model.auxiliary_head)
    assert {part.norm_cfg.type for part in parts} == {'SyncBN' if cuda else 'BN'}
    assert any('3 SyncBN' in note for note in notes) is not cuda
