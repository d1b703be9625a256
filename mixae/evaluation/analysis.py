"""What the analyses share: an encoder to look at, and the record of what was measured."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mixae.checkpoints.account import read_origin
from mixae.checkpoints.load import load_encoder
from mixae.derive import derive
from mixae.engine.hooks.provenance import describe_backbone, peak_memory_bytes
from mixae.errors import CheckpointError, ConfigError
from mixae.models.backbones.vit import MaskedViT
from mixae.registry import MODELS
from mixae.results.record import RunRecord, describe_config, new_record

SCRATCH = 'scratch'


def find_device() -> str:
    """'cuda' where there is a GPU."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def initialise(module: nn.Module) -> None:
    """Initial weights of a module, without a line of the log for each of them."""
    logging.disable(logging.INFO)
    try:
        module.init_weights()
    finally:
        logging.disable(logging.NOTSET)


def resolve(data: Config, *needed: str) -> Config:
    """A config of frozen features, derived; its own encoder has random weights.

    Raises:
        ConfigError: It lacks one of the data loaders that are needed, or its encoder is none of
            ours.
    """
    for name in needed:
        if not data.get(name):
            raise ConfigError(
                f'The data config {data.filename} has no {name}: expected a config of frozen '
                'features, such as a linear probe of configs/transfer or one of configs/analysis.'
            )
    data = data.copy()
    data.pretrained = SCRATCH
    return derive(data, cuda=False)[0]


def check_tokens(data: Config) -> None:
    """The encoder of a resolved data config returns all tokens.

    Raises:
        ConfigError: It does not.
    """
    found = data.model.backbone.get('out_type')
    if found != 'raw':
        raise ConfigError(
            f"{data.filename}: model.backbone.out_type={found!r}: expected 'raw', all tokens, as "
            'in kNN, linear probes on fixed features and configs/analysis.'
        )


def build_encoder(data: Config, checkpoint: str, seed: int = 0) -> tuple[MaskedViT, nn.Module]:
    """The encoder of a resolved data config with a checkpoint's weights, and the preprocessor.

    Args:
        data (Config): From :func:`resolve`.
        checkpoint (str): Any that :func:`load_encoder` reads, other projects' included, or
            'scratch' for random weights.
        seed (int): Of random weights. Defaults to 0.

    Raises:
        CheckpointError: It cannot be read, or does not fit.
        ConfigError: An encoder other than a :class:`MaskedViT`.
    """
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        encoder = MODELS.build(data.model.backbone)
        preprocessor = MODELS.build(data.model.data_preprocessor)
    if not isinstance(encoder, MaskedViT) or encoder.window_size is not None:
        raise ConfigError(
            f'model.backbone.type={data.model.backbone.type!r}: expected a mixae.MaskedViT with '
            'global attention.'
        )
    encoder.pretrained = None  # loaded below
    initialise(encoder)
    if checkpoint != SCRATCH:
        load_encoder(encoder, checkpoint)
    device = find_device()
    return encoder.to(device).eval(), preprocessor.to(device)


def build_loader(loader: dict, seed: int = 0, **changes) -> DataLoader:
    """A data loader of a config with other settings, in its own order unless they say else."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return Runner.build_dataloader({**loader, **changes}, seed=seed)


def origin_of(checkpoint: str) -> dict:
    """Method, variant, curves and pre-training of a checkpoint as records have them."""
    if checkpoint == SCRATCH:
        return dict(method='random', variant={}, curves=None, pretraining=None)
    if not Path(checkpoint).is_file():
        raise CheckpointError(f'There is no checkpoint at {checkpoint}.')
    return read_origin(checkpoint)


def check_different(checkpoints: Sequence[str]) -> None:
    """Each checkpoint is given once: two records of one would stand for one cell of a table.

    Raises:
        ConfigError: One is given twice, also by another path.
    """
    files = [c if c == SCRATCH else os.path.realpath(c) for c in checkpoints]
    for checkpoint, file in zip(checkpoints, files, strict=True):
        if files.count(file) > 1:
            raise ConfigError(
                f'{checkpoint} is given {files.count(file)} times: expected different checkpoints, '
                'as a table has one cell for each. Give it once.'
            )


def describe_protocol(name: str, protocol) -> dict:
    """A record's ``protocol`` block: options other than the default are part of the version.

    Args:
        name (str): Of the protocol.
        protocol: A dataclass of options; ``seed`` is none of them.
    """
    options = zip(asdict(protocol).items(), asdict(type(protocol)()).values(), strict=True)
    changed = [f'{k}={v}' for (k, v), default in options if k != 'seed' and v != default]
    return dict(name=name, version='; '.join(['1', *changed]))


def describe_data(data: Config, n_train: int | None, n_test: int) -> dict:
    """A record's ``dataset`` block."""
    about = data.data_about
    return dict(
        name=about.name,
        description=about.get('description'),
        split=about.get('split', 'test'),
        n_train=n_train,
        n_test=n_test,
    )


def analysis_record(
    task: str, config: Config, checkpoint: str, started: float, **fields
) -> RunRecord:
    """A run record of an analysis of a checkpoint.

    Args:
        task (str): Of the record.
        config (Config): The resolved config.
        checkpoint (str): Its path, or 'scratch'.
        started (float): When it began, of ``time.perf_counter()``.
        **fields: The rest: protocol, dataset, metrics, seed, budget, notes, extra.
    """
    origin = origin_of(checkpoint)
    if origin['curves']:
        fields['curves'] = origin['curves']
    return new_record(
        task=task,
        method=origin['method'],
        variant=origin['variant'],
        pretraining=origin['pretraining'],
        backbone=describe_backbone(config.model.backbone),
        config=describe_config(config),
        cost=dict(seconds=time.perf_counter() - started, peak_memory_bytes=peak_memory_bytes()),
        **fields,
    )
