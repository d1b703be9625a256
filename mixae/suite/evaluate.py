"""Any encoder through the usual evaluations: a suite made from a command line."""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path

import timm

from mixae.checkpoints.account import CARD, check_card
from mixae.checkpoints.read import read_checkpoint
from mixae.derive.checks import nearest
from mixae.engine.options import parse_value
from mixae.errors import ConfigError
from mixae.files import ROOT, check_folder, write_whole
from mixae.suite.read import check_name, read_config
from mixae.suite.run import main

BASES = ROOT / 'configs' / 'suites' / '_base_'
# The columns that a task fills, where they are not named like it.
COLUMNS = dict(sweep=['linear'], lbfgs=['linear'], ade20k=['miou'], coco=['box_ap', 'mask_ap'])


def data_sets() -> list[str]:
    """What there are evaluations for, by the names that ``--data`` takes."""
    return sorted(path.stem.removesuffix('_probes') for path in BASES.glob('*_probes.py'))


def base_of(data: str) -> dict:
    """The suite of a data set's evaluations; ``--tasks`` takes the names in its ``evaluate``."""
    return read_config(BASES / f'{data}_probes.py').to_dict()


def evaluate(args: argparse.Namespace) -> int:
    """Write the suite of an encoder to its work directory, and run it.

    Args:
        args (argparse.Namespace): Of ``tools/evaluate.py``.

    Returns:
        int: The exit status of the suite.

    Raises:
        ConfigError: An encoder, data set, task or entry of the card that there is not.
    """
    if args.data not in data_sets():
        raise ConfigError(f'--data {args.data}: expected one of {", ".join(data_sets())}.')
    tasks, there = args.tasks or ['linear', 'knn'], list(base_of(args.data)['evaluate'])
    for task in tasks:
        if task not in there:
            raise ConfigError(f'--tasks {task}{nearest(task, there)} There are {", ".join(there)}.')
    if len(set(tasks)) < len(tasks):
        raise ConfigError(f'--tasks {" ".join(tasks)}: expected different ones.')
    name = args.name or re.sub(r'\W+', '_', Path(args.encoder).stem).strip('_')
    check_name(f'--name {name}', name)
    encoder = describe(args.encoder, args.model, args.part, args.card)
    if 'checkpoint' in encoder:
        read_checkpoint(encoder['checkpoint'])  # what is none stops here, not in every run
    folder = Path(args.work_dir or Path('work_dirs', 'evaluate', args.data))
    check_folder(folder)
    suite = folder / f'{name}.py'
    write_whole(suite, suite_text(name, encoder, args.data, tasks))
    run = dict(suite=str(suite), work_dir=str(folder / name), seeds=args.seeds or [0], gpus=None)
    run |= dict(jobs=args.jobs, only=[], on_change=None, slurm=None, sbatch_args='')
    return main(argparse.Namespace(**run, launcher='local', dry_run=args.dry_run))


def describe(encoder: str, model: str | None, part: str | None, card: Sequence[str]) -> dict:
    """The entry of a suite's ``encoders`` for a name of timm or a checkpoint."""
    entry = {}
    if os.path.isfile(encoder):
        entry['checkpoint'] = str(Path(encoder).resolve())
        if model is not None:
            entry['model'] = model
    elif encoder.startswith(('timm:', 'hf-hub:')) or timm.is_model(encoder.partition('.')[0]):
        for option, value in (('--model', model), ('--part', part)):
            if value is not None:
                raise ConfigError(f'{option} {value}: {encoder} is a model of timm, no checkpoint.')
        entry['model'] = encoder
    else:
        raise ConfigError(
            f'{encoder} is no checkpoint and no model of timm{nearest(encoder, timm.list_models())}'
        )
    if part is not None:
        entry['part'] = part
    told = {}
    for item in card:
        key, _, value = item.partition('=')
        if key not in CARD or not value or key in told:
            raise ConfigError(
                f'--card {item}: expected KEY=VALUE with one of {", ".join(CARD)}, each once.'
            )
        told[key] = parse_value(value.lower()) if key in ('labels', 'epochs') else value
    check_card(told)
    return entry | (dict(card=told) if told else {})


def suite_text(name: str, encoder: dict, data: str, tasks: Sequence[str]) -> str:
    """The suite's file: the tasks asked for, of one encoder, without a row from scratch."""
    columns = [column for task in tasks for column in COLUMNS.get(task, [task])]
    base = base_of(data)
    dropped = [task for task in base['evaluate'] if task not in tasks]
    evaluate = {task: dict(only=[name]) for task in tasks} | dict.fromkeys(dropped)
    lines = [
        '# Written by tools/evaluate.py.',
        f'_base_ = [{str(BASES / f"{data}_probes.py")!r}]',
        f'title = {f"{name} on {data}"!r}',
        f'encoders = {dict([(name, encoder)])!r}',
        f'evaluate = {evaluate!r}',
        f'columns = {list(dict.fromkeys(columns))!r}',
        "published = 'none'",
    ]
    if 'checks' in base:
        lines.append('checks = dict(_delete_=True)')
    if data == 'digit_scenes':
        lines.append("prepare = ['classification']")
    return '\n'.join(lines) + '\n'
