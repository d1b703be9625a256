"""Table 4 from configs and checkpoints, with a run record of each row."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DefaultScope

from mixae.checkpoints.account import read_origin
from mixae.checkpoints.read import read_checkpoint
from mixae.checkpoints.whole_models import load_frozen_encoder, load_model
from mixae.datasets.pair_loader import build_pair_loader
from mixae.datasets.splits import check_splits
from mixae.derive import derive
from mixae.derive.components import is_model
from mixae.engine.hooks.provenance import describe_backbone, peak_memory_bytes
from mixae.errors import CheckpointError, ConfigError
from mixae.evaluation.analysis import (
    describe_data,
    describe_protocol,
    find_device,
    resolve,
)
from mixae.evaluation.separability.measure import linear_separability
from mixae.evaluation.separability.protocol import Protocol
from mixae.files import check_folder, file_sha256
from mixae.models.selfsup.imae import IMAE
from mixae.registry import MODELS
from mixae.results.record import describe_config, metric, new_record, write_record

BASELINE = 'MAE (baseline)'
WITHOUT_DISTILLATION = 'i-MAE w/o distillation'
I_MAE = 'i-MAE'
SPLITS = ('train_features', 'test_dataloader')
PAIRS = 128  # a batch; masks are drawn batch by batch, so that it is part of the protocol


def table_4(
    config: Config,
    checkpoints: Sequence[str],
    teacher: str,
    data: Config,
    protocol: Protocol,
    *,
    without_distillation: str | None = None,
    folder: str | Path | None = None,
    budget: str | None = None,
) -> dict[str, dict]:
    """Table 4's rows for i-MAEs, their ablation and the baseline, and a run record of each.

    Args:
        config (Config): An i-MAE's pre-training config; the rows share its architecture.
        checkpoints (Sequence[str]): One i-MAE or several; see :func:`name_rows`.
        teacher (str): The checkpoint of their teacher: its features are the targets, and it is
            the baseline, a model without the disentanglement module.
        data (Config): A config of a frozen-feature protocol (configs/transfer, kNN or linear):
            its ``train_features`` and ``test_dataloader`` are the two splits, its model's
            preprocessor normalises them.
        protocol (Protocol): The options.
        without_distillation (str, optional): Checkpoint of an i-MAE trained without distillation.
        folder (str | Path, optional): Where the records go; None writes none.
        budget (str, optional): What was spent on the rows, in words, for the records.

    Returns:
        dict: As :func:`linear_separability`.

    Raises:
        CheckpointError: A checkpoint that does not fit, an i-MAE that was distilled from another
            teacher, or one that was distilled in the row without distillation.
        ConfigError: Another model than an i-MAE, or a data config without the two splits.
        DataError: Test images that are training images.
    """
    if folder is not None:
        check_folder(folder)
    if not is_model(config, IMAE):
        raise ConfigError(f"model.type={config.model.type!r}: expected an i-MAE's config.")
    students = {} if without_distillation is None else {WITHOUT_DISTILLATION: without_distillation}
    students |= name_rows(checkpoints)
    for name, checkpoint in students.items():
        _check_teacher(name, checkpoint, teacher)
    config, data, device = derive(config)[0], resolve(data, *SPLITS), find_device()
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        encoder = load_frozen_encoder(config.model.backbone, teacher).to(device)
        models = {BASELINE: encoder}
        for name, checkpoint in students.items():
            models[name] = load_model(config.model, checkpoint).to(device)
        preprocessor = MODELS.build(data.model.data_preprocessor).to(device)
        fit_loader, test_loader = (
            build_pair_loader(data[name], PAIRS, protocol.same_class_ratio, protocol.seed)
            for name in SPLITS
        )
    check_splits(fit_loader.dataset, test_loader.dataset)
    started = time.perf_counter()
    results = linear_separability(models, encoder, preprocessor, fit_loader, test_loader, protocol)
    if folder is not None:
        shared = dict(
            task='separability',
            protocol=describe_protocol('lasso-separability', protocol),
            backbone=describe_backbone(config.model.backbone),
            dataset=describe_data(
                data,
                math.ceil(protocol.fit_part * len(fit_loader.dataset)),
                len(test_loader.dataset),
            ),
            config=describe_config(config),
            seed=protocol.seed,
            budget=budget,
            cost=dict(seconds=time.perf_counter() - started, peak_memory_bytes=peak_memory_bytes()),
            notes=f'{protocol}. The time is that of all rows together. Targets: the features of '
            f'{Path(teacher).name}, SHA-256 {file_sha256(teacher)}.',
        )
        for name, checkpoint in {BASELINE: teacher, **students}.items():
            row = _describe_row(name, checkpoint, results[name])
            write_record(new_record(**shared, **row), folder)
    return results


def _check_teacher(name: str, checkpoint: str, teacher: str) -> None:
    """The targets are the features of the model that the row was distilled from, if any."""
    if not Path(teacher).is_file():
        raise CheckpointError(f'There is no checkpoint at {teacher}.')
    saved = read_checkpoint(checkpoint)['state_dict'].get('teacher_sha256')
    if saved is None:
        return
    if name == WITHOUT_DISTILLATION:
        raise CheckpointError(
            f'{checkpoint} was distilled from a teacher: it is no i-MAE without distillation.'
        )
    saved, given = bytes(saved.tolist()).hex(), file_sha256(teacher)
    if saved != given:
        raise CheckpointError(
            f'{checkpoint} was distilled from the teacher with SHA-256 {saved[:12]}..., but '
            f'{teacher} is {given[:12]}...: give its own teacher, whose features are the targets.'
        )


def name_rows(checkpoints: Sequence[str]) -> dict[str, str]:
    """A name for each i-MAE of a table: one is 'i-MAE', several say in which settings they differ.

    Args:
        checkpoints (Sequence[str]): What pre-training saved, with its variant.

    Raises:
        ConfigError: No checkpoint, or two that do not tell themselves apart.
    """
    if len(checkpoints) < 2:
        names = [I_MAE] * len(checkpoints)
    else:
        variants = [read_origin(checkpoint)['variant'] for checkpoint in checkpoints]
        differing = [
            key
            for key in dict.fromkeys(key for variant in variants for key in variant)
            if any(variant.get(key) != variants[0].get(key) for variant in variants)
        ]
        names = [
            ', '.join([I_MAE, *(f'{key}={variant.get(key)}' for key in differing)])
            for variant in variants
        ]
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f'The i-MAE checkpoints {list(checkpoints)} are named {names}: give at least one, and '
            'of several only such as were trained with different settings (seeds are repeats: one '
            'call each).'
        )
    return dict(zip(names, checkpoints, strict=True))


def _describe_row(name: str, checkpoint: str, row: dict) -> dict:
    """The fields of a run record that tell the rows of a table apart."""
    origin = read_origin(checkpoint)
    method, variant = origin['method'], origin['variant']
    if method == 'unknown':  # saved elsewhere: the row's name says what it is
        method, variant = ('mae', {}) if name == BASELINE else ('imae', dict(row=name))
    return dict(
        method=method,
        variant=variant,
        metrics={
            f'{when}/{key}': metric(value, '', key != 'nrmse')
            for when in ('fore', 'aft')
            for key, value in row[when].items()
        },
        pretraining=origin['pretraining'],
    )


def format_table(results: Mapping[str, dict], protocol: Protocol) -> str:
    """The results as Table 4 lays them out, in Markdown, with the protocol below."""
    lines = ['| Score | Method | Fore | Aft |', '|---|---|---:|---:|']
    for key, title in (('nrmse', 'NRMSE ↓'), ('r2', 'R² ↑'), ('cosine', 'Cos ↑')):
        lines += [
            f'| {title} | {name} | {row["fore"][key]:.3f} | {row["aft"][key]:.3f} |'
            for name, row in results.items()
        ]
    lines += ['', f'{protocol}.']
    lines += [
        f'{name}: the lasso of {row["unconverged"]} outputs stopped at its iteration limit.'
        for name, row in results.items()
        if row['unconverged']
    ]
    return '\n'.join(lines)
