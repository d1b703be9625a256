"""Derived numbers of a config, resolved when the Runner is built, after every override.

In our configs ``None`` stands for 'follows from the rest'. Whatever is given explicitly is kept.
"""

import copy
import math
import os
from collections.abc import Iterator

from mmengine.config import Config, ConfigDict
from timm.layers import to_2tuple

from mixae.errors import ConfigError
from mixae.models.backbones.vit import ARCHS, MaskedViT
from mixae.models.layers.mixing import check_group, group_size


def resolve(cfg: Config, world_size: int = 1, cuda: bool = True) -> tuple[Config, list[str]]:
    """Fill in what follows from the rest of the config, and check what can be known at start.

    Args:
        cfg (Config): The config after ``--cfg-options``. Not changed.
        world_size (int): Number of processes.
        cuda (bool): Whether the run has a GPU; without one SyncBN becomes BN.

    Returns:
        tuple[Config, list[str]]: The resolved config, and a line for each thing a person should
        know (the effective batch and learning rate among them).

    Raises:
        ConfigError: Contradictions, and what a run would only trip over later.
    """
    cfg = copy.deepcopy(cfg)
    notes: list[str] = []
    _resolve_pretrained(cfg, notes)
    _resolve_model(cfg)
    _resolve_dense(cfg, notes)
    _resolve_data_root(cfg)
    _resolve_dataloaders(cfg, cuda)
    _resolve_pipelines(cfg)
    _resolve_schedule(cfg, notes)
    _resolve_dense_schedule(cfg, notes)
    _resolve_learning_rate(cfg, world_size, notes)
    _check_groups(cfg)
    if not cuda:
        replaced = _replace_sync_bn(cfg)
        if replaced:
            notes.append(f'No GPU: {replaced} SyncBN layers of the config run as BN.')
        _replace_fp16(cfg, notes)
    return cfg, notes


def vit_dims(backbone: dict) -> dict:
    """Width and numbers of layers and patches of a :class:`MaskedViT` config."""
    arch = backbone.get('arch', 'b')
    if isinstance(arch, str):
        name = ARCHS.get(arch, arch)
        if name not in MaskedViT.arch_zoo:
            raise ConfigError(
                f'model.backbone.arch={arch!r} is unknown: choose one of '
                f'{", ".join(sorted(set(ARCHS) | set(MaskedViT.arch_zoo)))}, or give a dict.'
            )
        arch = MaskedViT.arch_zoo[name]
    img_size, patch_size = backbone.get('img_size', 224), backbone.get('patch_size', 16)
    sides = list(zip(to_2tuple(img_size), to_2tuple(patch_size), strict=True))
    if any(side % patch for side, patch in sides):
        raise ConfigError(
            f'model.backbone: img_size={img_size} is not a multiple of patch_size={patch_size}.'
        )
    if sides[0][0] * sides[1][1] != sides[1][0] * sides[0][1]:
        raise ConfigError(
            f'model.backbone: img_size={img_size} with patch_size={patch_size} is no square grid. '
            'It is what pos_embed is kept at; images of any other size are encoded all the same.'
        )
    num_patches = math.prod(side // patch for side, patch in sides)
    return dict(
        width=arch['embed_dims'],
        depth=arch['num_layers'],
        num_patches=num_patches,
        patch_size=patch_size,
        img_size=sides[0][0] if sides[0] == sides[1] else img_size,
    )


def _fill(node: dict | None, **values) -> None:
    """Set the keys of ``node`` that are there and None."""
    for key, value in values.items():
        if node is not None and key in node and node[key] is None:
            node[key] = value


def _resolve_pretrained(cfg: Config, notes: list[str]) -> None:
    """``pretrained`` of a transfer config: a checkpoint, or 'scratch' said in so many words."""
    if 'pretrained' not in cfg:
        return
    if cfg.get('resume'):  # the weights are those of the checkpoint that is resumed
        cfg.model.backbone.pretrained = None
        return
    if not cfg.pretrained:
        raise ConfigError(
            'This config starts from a pre-training checkpoint and none was given: add '
            '--pretrained CHECKPOINT, or --pretrained scratch for random weights.'
        )
    if cfg.pretrained == 'scratch':
        cfg.model.backbone.pretrained = None
        notes.append('The encoder starts from random weights (--pretrained scratch).')
    else:
        cfg.model.backbone.pretrained = cfg.pretrained


def _resolve_model(cfg: Config) -> None:
    model = cfg.get('model', {})
    backbone = model.get('backbone', {})
    if backbone.get('type') not in ('mixae.MaskedViT', 'MaskedViT'):
        return
    dims = vit_dims(backbone)
    neck, head = model.get('neck'), model.get('head')
    if isinstance(neck, dict):
        _fill(
            neck,
            num_patches=dims['num_patches'],
            patch_size=dims['patch_size'],
            embed_dim=dims['width'],
            input_features=dims['width'],
        )
    if isinstance(head, dict):
        _fill(
            head,
            patch_size=dims['patch_size'],
            in_channels=dims['width'],
            num_classes=cfg.get('num_classes'),
        )
    _fill(model.get('contrast'), in_dim=dims['width'])
    if model.get('type') in ('mixae.IMAE', 'IMAE'):
        for part in ('distill', 'disentangle'):
            # Two words for off are one setting, in tables too.
            if model.get(part, True) is None:
                model[part] = False
    _fill(model.get('data_preprocessor'), num_classes=cfg.get('num_classes'))
    for augment in (model.get('train_cfg') or {}).get('augments') or []:
        _fill(augment, num_classes=cfg.get('num_classes'))


def _resolve_dense(cfg: Config, notes: list[str]) -> None:
    """Layers and widths of a detector or segmentor; a segmentor's scales and crops."""
    model = cfg.get('model', {})
    backbone = model.get('backbone', {})
    if backbone.get('type') not in ('mixae.MaskedViT', 'MaskedViT'):
        return
    if not {'decode_head', 'rpn_head', 'bbox_head'} & set(model):
        return
    dims = vit_dims(backbone)
    width, size = dims['width'], dims['img_size']
    widths = [width] * len(_resolve_layers(backbone, dims['depth'], notes))
    necks = model.get('neck') or []
    for neck in necks if isinstance(necks, list | tuple) else [necks]:
        _fill(neck, embed_dim=width)
        if neck.get('type', '').endswith('SimpleFeaturePyramid'):
            _fill(neck, in_channels=width)
        else:
            _fill(neck, in_channels=widths)
    if 'decode_head' not in model:
        _check_strides(model, dims['patch_size'])
        return
    concatenated = model.decode_head.get('input_transform') == 'resize_concat'
    several = isinstance(model.decode_head.get('in_index'), list | tuple)
    _fill(
        model.decode_head,
        in_channels=widths if several else width,
        channels=sum(widths) if concatenated else width,
        num_classes=cfg.get('num_classes'),
    )
    _fill(model.get('auxiliary_head'), in_channels=width, num_classes=cfg.get('num_classes'))
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for node in _walk(cfg.get(loader)):
            if node.get('type') == 'mixae.CheckSegLabels':
                _fill(node, num_classes=cfg.get('num_classes'))
            elif node.get('type') in ('Resize', 'RandomResize') and isinstance(size, int):
                _fill(node, scale=(4 * size, size))
            elif node.get('type') == 'ResizeShortestEdge' and isinstance(size, int):
                # A view of a multi-scale test: no smaller than the slide, as BEiT's and iBOT's.
                _fill(node, scale=max(size, int(size * node.pop('ratio', 1))))
            elif node.get('type') == 'RandomCrop' and isinstance(size, int):
                _fill(node, crop_size=(size, size))
    if isinstance(size, int):
        _fill(model.get('data_preprocessor'), size=(size, size))
        # Slides overlap by a third, as in BEiT: 341 of 512.
        stride = size * 2 // 3
        _fill(model.get('test_cfg'), crop_size=(size, size), stride=(stride, stride))


def _resolve_layers(backbone: dict, depth: int, notes: list[str]) -> list[int]:
    """Layers whose features are used, and those of global attention; the former, from 0 on."""
    _fill(
        backbone,
        # After thirds, half and all: layers 3, 5, 7, 11 of 12 and 7, 11, 15, 23 of 24, as iBOT.
        out_indices=[round(depth * share) - 1 for share in (1 / 3, 1 / 2, 2 / 3, 1)],
        # The last of each quarter, as ViTDet.
        global_layers=[round(depth * share) - 1 for share in (1 / 4, 1 / 2, 3 / 4, 1)],
    )
    indices = backbone.get('out_indices', -1)
    indices = [indices] if isinstance(indices, int) else list(indices)
    if not all(-depth <= i < depth for i in indices):
        raise ConfigError(f'model.backbone.out_indices={indices}: there are layers 0..{depth - 1}.')
    layers = [i % depth for i in indices]
    if len(set(layers)) < len(layers):
        raise ConfigError(
            f'model.backbone.out_indices={list(layers)} names a layer twice; an encoder of {depth} '
            'layers needs them given.'
        )
    if max(layers) < depth - 1:
        notes.append(
            f'model.backbone.out_indices ends at layer {max(layers)} of 0..{depth - 1}: the layers '
            'after it take no part.'
        )
    return layers


def _check_strides(model: dict, patch_size: int) -> None:
    """Anchors and regions of a two-stage detector lie on its neck's maps; mmdet's are 4, 8, ...."""
    necks = model.get('neck') or []
    necks = [necks] if isinstance(necks, dict) else necks
    if 'rpn_head' not in model or not necks or any('start_level' in neck for neck in necks):
        return
    scales = {
        'SimpleFeaturePyramid': necks[0].get('scales', (4, 2, 1, 0.5)),
        'Feature2Pyramid': necks[0].get('rescales', (4, 2, 1, 0.5)),
    }.get(str(necks[0].get('type')).split('.')[-1])
    if scales is None:
        return
    strides = [to_2tuple(patch_size)[0] / scale for scale in scales]
    for node in _walk([model.rpn_head, model.get('roi_head')]):
        for key in {'strides', 'featmap_strides'} & set(node):
            # Further maps are pooled by 2.
            further = [strides[-1] * 2**k for k in range(1, len(node[key]))]
            if list(node[key]) != [*strides, *further][: len(node[key])]:
                raise ConfigError(
                    f'patch_size={patch_size} gives maps of strides {strides}, but '
                    f'{node.get("type", "a part")} of the detector has {key}={list(node[key])}. '
                    'Override the latter, in rpn_head.anchor_generator and every RoI extractor.'
                )


def _resolve_data_root(cfg: Config) -> None:
    """Datasets whose ``data_root`` is None lie in the config's; the COCO evaluator reads there."""
    if not cfg.get('data_root'):
        return
    for split in ('train', 'val', 'test'):
        loader, evaluator = cfg.get(f'{split}_dataloader'), cfg.get(f'{split}_evaluator')
        for node in _walk(loader):
            if 'data_root' not in node:
                continue
            _fill(node, data_root=cfg.data_root)
            if isinstance(evaluator, dict) and 'ann_file' in node:
                _fill(evaluator, ann_file=os.path.join(node['data_root'], node['ann_file']))


def _dataloaders(cfg: Config) -> Iterator[ConfigDict]:
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'train_features'):
        if cfg.get(name):
            yield cfg[name]


def _resolve_pipelines(cfg: Config) -> None:
    """Crops whose ``scale`` or ``crop_size`` is None take the encoder's input size."""
    backbone = cfg.get('model', {}).get('backbone', {})
    if backbone.get('type') not in ('mixae.MaskedViT', 'MaskedViT'):
        return
    size = backbone.get('img_size', 224)
    for dataloader in _dataloaders(cfg):
        for node in _walk(dataloader):
            if str(node.get('type', '')).endswith(('Crop', 'Resize')):
                _fill(node, scale=size, crop_size=size)


def _resolve_dataloaders(cfg: Config, cuda: bool) -> None:
    """No persistent workers where there are none, no pinned memory without a GPU."""
    for dataloader in _dataloaders(cfg):
        if dataloader.get('num_workers', 0) == 0:
            dataloader.persistent_workers = False
        if not cuda:
            dataloader.pin_memory = False


def _walk(node) -> Iterator[dict]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _walk(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _walk(value)


def _resolve_schedule(cfg: Config, notes: list[str]) -> None:
    """Warm-up ends at ``warmup_epochs``; what follows lasts to the end of training."""
    train_cfg = cfg.get('train_cfg') or {}
    max_epochs = train_cfg.get('max_epochs')
    if max_epochs is None or 'warmup_iters' in cfg:
        return
    _fill(train_cfg, val_interval=max_epochs)
    # 200 checkpoints a run: none where a kill costs more than half a per cent of it.
    _fill((cfg.get('default_hooks') or {}).get('checkpoint'), interval=math.ceil(max_epochs / 200))
    warmup = cfg.get('warmup_epochs', 0)
    if warmup and warmup >= max_epochs:
        warmup = max_epochs // 10
        notes.append(
            f'warmup_epochs={cfg.warmup_epochs} does not fit in {max_epochs} epochs: the warm-up '
            f'lasts {warmup} (a tenth).'
        )
    schedulers = []
    for scheduler in cfg.get('param_scheduler') or []:
        if scheduler.type == 'LinearLR':
            _fill(scheduler, end=warmup)
            if scheduler.get('end') == 0:
                continue
        else:
            _fill(scheduler, begin=warmup, end=max_epochs, T_max=max_epochs - warmup)
        schedulers.append(scheduler)
    if 'param_scheduler' in cfg:
        cfg.param_scheduler = schedulers


def _resolve_dense_schedule(cfg: Config, notes: list[str]) -> None:
    """A warm-up of ``warmup_iters``, then to the end; steps at shares of the epochs."""
    train_cfg = cfg.get('train_cfg') or {}
    if 'warmup_iters' not in cfg or not train_cfg:
        return
    warmup, length = cfg.warmup_iters, train_cfg.get('max_iters') or train_cfg.get('max_epochs')
    by_iteration = 'max_iters' in train_cfg
    if by_iteration and warmup >= length:
        warmup = length // 10
        notes.append(
            f'warmup_iters={cfg.warmup_iters} does not fit in {length} iterations: the warm-up '
            f'lasts {warmup} (a tenth).'
        )
    schedulers = []
    for scheduler in cfg.get('param_scheduler') or []:
        if scheduler.type == 'LinearLR':
            _fill(scheduler, end=warmup)
            if scheduler.get('end') == 0:
                continue
        else:
            steps = [max(1, round(share * length)) for share in cfg.get('lr_steps', ())]
            _fill(scheduler, begin=warmup, end=length, milestones=steps)
        schedulers.append(scheduler)
    cfg.param_scheduler = schedulers
    _fill(train_cfg, val_interval=length)
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
    _fill(checkpoint, interval=max(1, math.ceil(length / 10)) if by_iteration else 1)


def effective_batch(cfg: Config, world_size: int) -> int:
    """Images an optimiser step: per process x processes x accumulation."""
    accumulation = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    return cfg.train_dataloader.batch_size * world_size * accumulation


def _resolve_learning_rate(cfg: Config, world_size: int, notes: list[str]) -> None:
    """lr = base_lr x effective batch / base_lr_batch (256 in MAE), unless lr is given."""
    if not cfg.get('train_dataloader') or not cfg.get('optim_wrapper'):
        return
    accumulation = cfg.optim_wrapper.get('accumulative_counts', 1)
    batch = effective_batch(cfg, world_size)
    optimizer = cfg.optim_wrapper.optimizer
    line = (
        f'Effective batch {batch} = {cfg.train_dataloader.batch_size} images a process x '
        f'{world_size} processes x {accumulation} accumulation steps'
    )
    if optimizer.get('lr') is None:
        if 'base_lr' not in cfg:
            raise ConfigError('optim_wrapper.optimizer.lr is None and the config has no base_lr.')
        reference = cfg.get('base_lr_batch', 256)
        optimizer.lr = cfg.base_lr * batch / reference
        line += f'; lr {optimizer.lr:.4g} = base_lr {cfg.base_lr:.4g} x {batch} / {reference}'
    else:
        line += f'; lr {optimizer.lr:.4g} as given'
    notes.append(line + '.')


def _check_groups(cfg: Config) -> None:
    """MixedAE: the group must divide patches and batch; i-MAE: the batch holds pairs."""
    model = cfg.get('model', {})
    if not cfg.get('train_dataloader'):
        return
    if model.get('type') in ('mixae.IMAE', 'IMAE'):
        batch_size = cfg.train_dataloader.batch_size
        if batch_size % 2 or not cfg.train_dataloader.get('drop_last', False):
            raise ConfigError(
                f'i-MAE mixes pairs: train_dataloader needs an even batch_size, got {batch_size}, '
                'and drop_last=True.'
            )
    if model.get('type') not in ('mixae.MixedAE', 'MixedAE'):
        return
    try:
        groups = group_size(model.get('mix_ratio', 0.25))
        dims = vit_dims(model.backbone)
        check_group(cfg.train_dataloader.batch_size, dims['num_patches'], groups)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if not cfg.train_dataloader.get('drop_last', False):
        raise ConfigError(
            f'MixedAE mixes {groups} images at a time: set train_dataloader.drop_last=True, or the '
            'last batch of an epoch may not be a multiple of it.'
        )


def _replace_fp16(cfg: Config, notes: list[str]) -> None:
    """mmengine's float16 wrapper asserts a GPU."""
    wrapper = cfg.get('optim_wrapper') or {}
    if wrapper.get('type') != 'AmpOptimWrapper':
        return
    wrapper.type = 'OptimWrapper'
    for key in ('loss_scale', 'dtype', 'use_fsdp'):
        wrapper.pop(key, None)
    notes.append('No GPU: AmpOptimWrapper (float16) runs as OptimWrapper (float32).')


def _replace_sync_bn(cfg: Config) -> int:
    replaced = 0
    for node in _walk(cfg._cfg_dict):
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
            replaced += 1
    return replaced
