"""Mutual information of a pre-training checkpoint's tokens and masked patches, with a record.

Shape legend: B images, G images per group, L patches per image, V visible patches per image.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.models import MAE
from torch import Tensor, nn

from mixae.checkpoints.whole_models import load_model
from mixae.datasets.splits import check_splits
from mixae.derive import derive
from mixae.derive.components import is_model
from mixae.derive.values import check_number, check_seed
from mixae.engine.hooks.provenance import describe_variant
from mixae.errors import CheckpointError, ConfigError, DataError
from mixae.evaluation.analysis import (
    SCRATCH,
    analysis_record,
    build_loader,
    describe_data,
    describe_protocol,
    find_device,
    initialise,
    origin_of,
    resolve,
)
from mixae.evaluation.mutual_information.estimators import (
    MIXTURE_PATCHES,
    Batch,
    InformationProbe,
    PatchCoordinates,
    PatchMarginal,
    fit_probe,
    measure,
)
from mixae.files import check_folder
from mixae.models.backbones.vit import MaskedViT
from mixae.models.layers.masking import draw_order
from mixae.models.layers.mixing import check_group, group_size
from mixae.models.selfsup.imae import IMAE
from mixae.models.selfsup.mixedae import MixedAE
from mixae.registry import MODELS
from mixae.results.names import settings_apart
from mixae.results.record import metric, write_record

SPLITS = ('train_features', 'test_dataloader')  # what the probe is fitted and measured on


@dataclass(frozen=True)
class Protocol:
    """How information is estimated; all of it is ours.

    Attributes:
        steps (int): Of fitting the probe.
        batch_size (int): Images per step; the ceiling of InfoNCE follows from it.
        components (int): Principal components of a patch that are predicted.
        seed (int): Of masks, the order of images and the probe.

    Raises:
        ConfigError: A value out of its range.
    """

    steps: int = 600
    batch_size: int = 128
    components: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name in ('steps', 'batch_size', 'components'):
            check_number(name, getattr(self, name), int, '[1, 1000000]')


def mutual_information(
    config: Config,
    checkpoint: str,
    data: Config,
    protocol: Protocol,
    *,
    folder: str | Path | None = None,
    budget: str | None = None,
) -> dict[str, float]:
    """Both estimates of one checkpoint, and a run record.

    Args:
        config (Config): The pre-training config of an MAE or a :class:`MixedAE`, as it was trained.
        checkpoint (str): Its checkpoint, or 'scratch' for random weights.
        data (Config): A config of frozen features: ``train_features`` is what the probe is fitted
            on, ``test_dataloader`` what is measured.
        protocol (Protocol): The options.
        folder (str | Path, optional): Where the record goes. Defaults to None, nowhere.
        budget (str, optional): In words, for the record.

    Returns:
        dict: As :func:`measure`, and the same of training images with ``train_`` before the name.

    Raises:
        ConfigError: Another model, a mask ratio that leaves no group, a data config without the
            splits.
        CheckpointError: A checkpoint of another method or setting, or one that does not fit.
        DataError: A split with fewer images than a batch.
    """
    if folder is not None:
        check_folder(folder)
    if not is_model(config, MAE) or is_model(config, IMAE):
        raise ConfigError(
            f'model.type={config.model.type!r}: mutual information is measured of MAE and '
            'mixae.MixedAE.'
        )
    _check_origin(config, checkpoint)
    config = derive(config, cuda=False)[0]
    data = resolve(data, *SPLITS)
    groups = _groups(config, protocol.batch_size)
    torch.manual_seed(protocol.seed)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        if checkpoint == SCRATCH:
            model = MODELS.build(config.model)
            initialise(model)
        else:
            model = load_model(config.model, checkpoint)
    device = find_device()
    model = model.to(device).eval()
    reader = Reader(model, data, protocol, groups)
    started = time.perf_counter()
    L, width = model.backbone.num_patches, model.backbone.embed_dims
    torch.manual_seed(protocol.seed)  # a model that draws more gives no other probe
    probe = InformationProbe(width, L, reader.marginal(), groups).to(device)
    fit_probe(probe, islice(reader.endless(protocol.seed), protocol.steps), protocol.steps)
    found = measure(probe, reader.batches('test_dataloader', protocol.seed))
    length = len(reader.loaders['test_dataloader'])
    seen = measure(probe, islice(reader.batches('train_features', protocol.seed), length))
    found |= {f'train_{name}': seen[name] for name in ('barber_agakov', 'infonce')}
    found |= dict(variance_kept=reader.coordinates.share, groups=groups)
    if folder is not None:
        record = analysis_record(
            'mutual_information',
            config,
            checkpoint,
            started,
            protocol=describe_protocol('patch-information', protocol),
            dataset=describe_data(data, *(len(reader.loaders[name].dataset) for name in SPLITS)),
            metrics={
                # The papers take less for better; no table ranks rows by it.
                name: metric(found[name], 'nats', higher_is_better=False)
                for name in ('barber_agakov', 'infonce', 'ceiling')
            },
            seed=protocol.seed,
            budget=budget,
            notes=describe(protocol, found),
            extra=found,
        )
        write_record(record, folder)
    return found


class Reader:
    """Batches of a model's tokens and of the patches that they are to tell, from both splits.

    Args:
        model (nn.Module): The MAE or :class:`MixedAE`, in evaluation mode.
        data (Config): The resolved config of the splits.
        protocol (Protocol): The options.
        groups (int): G.

    Raises:
        DataError: A split with fewer images than a batch; test images that are training images.
    """

    def __init__(self, model: nn.Module, data: Config, protocol: Protocol, groups: int) -> None:
        self.model, self.groups, self.seed = model, groups, protocol.seed
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            self.preprocessor = MODELS.build(data.model.data_preprocessor).to(find_device())
        sampler = dict(type='DefaultSampler', shuffle=True)
        # Both in random order: a data set may be sorted by class, and negatives are of the batch.
        shared = dict(batch_size=protocol.batch_size, drop_last=True, sampler=sampler)
        self.loaders = {name: build_loader(data[name], protocol.seed, **shared) for name in SPLITS}
        for name, loader in self.loaders.items():
            if not len(loader):
                raise DataError(
                    f'{name} has {len(loader.dataset)} images: the estimators need a batch of '
                    f'{protocol.batch_size} at least; lower --batch-size.'
                )
        check_splits(*(loader.dataset for loader in self.loaders.values()))
        self.coordinates = PatchCoordinates(model.head.patchify, protocol.components)
        self.coordinates.fit(lambda: self.images('train_features'))

    def marginal(self) -> PatchMarginal:
        """The density of patches of random training images."""
        found, count = [], 0
        for inputs in self.images('train_features'):
            found.append(self.coordinates(inputs).flatten(0, 1))
            count += len(found[-1])
            if count >= MIXTURE_PATCHES:
                break
        return PatchMarginal(torch.cat(found)[:MIXTURE_PATCHES], self.seed)

    def images(self, split: str) -> Iterator[Tensor]:
        """Normalised images, (B, 3, H, W)."""
        for batch in self.loaders[split]:
            yield self.preprocessor(batch, False)['inputs']

    @torch.no_grad()
    def batches(self, split: str, seed: int) -> Iterator[Batch]:
        """One reading of a split."""
        generator = torch.Generator().manual_seed(seed)  # the same masks for every model
        L = self.model.backbone.num_patches
        for inputs in self.images(split):
            order_ML = draw_order(len(inputs) // self.groups, L, generator=generator)
            ids_visible_BV = order_ML.reshape(len(inputs), L // self.groups).to(inputs.device)
            if isinstance(self.model, MixedAE):
                tokens_BnD = self.model.encode(inputs, ids_visible_BV)
            else:
                tokens_BnD = self.model.backbone(inputs, ids_visible=ids_visible_BV)[0]
            yield Batch(tokens_BnD, ids_visible_BV, self.coordinates(inputs))

    def endless(self, seed: int) -> Iterator[Batch]:
        """The training split again and again, with other masks in each epoch."""
        for epoch in count():
            self.loaders['train_features'].sampler.set_epoch(epoch)
            yield from self.batches('train_features', hash((seed, epoch)) % 2**32)


def describe(protocol: Protocol, found: dict) -> str:
    """What was measured, in words."""
    return (
        f'Nats per masked patch, {protocol.components} principal components '
        f'({100 * found["variance_kept"]:.0f} % of the variance), mean over {found["images"]} '
        f'held-out images in groups of {found["groups"]}; probe of {protocol.steps} steps of '
        f'{protocol.batch_size} images (on training images: Barber-Agakov '
        f'{found["train_barber_agakov"]:.2f}, InfoNCE {found["train_infonce"]:.2f}); '
        f'seed {protocol.seed}'
    )


def format_table(rows: dict[str, dict], notes: str) -> str:
    """Estimates by name, in Markdown; the errors are standard errors over groups of images."""
    lines = ['| Encoder | Barber-Agakov | InfoNCE | ceiling (log N) |', '|---|---:|---:|---:|']
    lines += [
        f'| {name} | {row["barber_agakov"]:.3f} ± {row["barber_agakov_error"]:.3f} '
        f'| {row["infonce"]:.3f} ± {row["infonce_error"]:.3f} | {row["ceiling"]:.3f} |'
        for name, row in rows.items()
    ]
    return '\n'.join([*lines, '', f'{notes}.'])


def _groups(config: Config, batch_size: int) -> int:
    """G: of an MAE that of the MixedAE with as many visible patches, so that masks are the same."""
    ratio = config.model.get('mix_ratio', 0.25)
    if not is_model(config, MixedAE):
        ratio = 1 - config.model.backbone.get('mask_ratio', 0.75)
    try:
        groups = group_size(ratio)
        check_group(batch_size, MaskedViT.dimensions(config.model.backbone)['num_patches'], groups)
    except ValueError as error:
        raise ConfigError(f'The masks of a group must tile an image: {error}') from error
    return groups


def _check_origin(config: Config, checkpoint: str) -> None:
    """The method and the settings of a checkpoint are those of the config, where it tells them."""
    origin = origin_of(checkpoint)
    if origin['method'] in ('unknown', 'random'):
        return
    told = settings_apart(origin['method'], origin['variant'])
    given = settings_apart(config.method, describe_variant(config))
    if (origin['method'], told) != (config.method, given):
        raise CheckpointError(
            f'{checkpoint} was trained as {origin["method"]} {told}, but the config with its '
            f'overrides is {config.method} {given}: give the config of that run.'
        )
