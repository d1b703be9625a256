"""Run records: one validated JSON document per evaluation.

A record says what was run, on which checkpoint, with which configuration, data, seed, versions and
device, what it cost and what came out. Tables are built from records and published numbers only
(`mixae.results.compare`). The format is `run_record.schema.json`, beside this file.
"""

import hashlib
import json
import os
import re
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from mixae.errors import RecordError
from mixae.files import write_whole
from mixae.results.environment import collect_environment, portable
from mixae.results.names import check_value, settings_apart
from mixae.results.schema import find_problems

SCHEMA_VERSION = 1
SUFFIX = '.record.json'

# Where a configuration was run and how far along it was say nothing about what it computes.
_NOT_CONFIG = ('work_dir', 'resume', 'load_from', 'launcher', 'log_level', 'local_rank')


class RunRecord(dict):
    """A record's content, as a dict, and the file it was read from (`path`, None for a new one)."""

    path: Path | None = None


def digest(record: Mapping) -> str:
    """The sha256 (hex) of a record's canonical JSON: sorted keys, no spaces, `digest` left out."""
    content = {key: value for key, value in record.items() if key != 'digest'}
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def _canonical(value) -> str:
    return json.dumps(value, sort_keys=True, separators=(',', ':'), ensure_ascii=False)


def config_sha256(config: Mapping) -> str:
    """The hash (hex) of a resolved configuration, the same for the same experiment everywhere.

    Keys that only say where and how it ran (`work_dir`, `resume`, `load_from`, `launcher`, ...)
    are left out, and machine paths are made relative, so it can be compared across machines.

    Args:
        config: a mapping, or an mmengine `Config`.
    """
    content = config.to_dict() if hasattr(config, 'to_dict') else dict(config)
    content = {key: item for key, item in content.items() if key not in _NOT_CONFIG}
    text = json.dumps(portable(content), sort_keys=True, default=_type_name)
    return hashlib.sha256(text.encode()).hexdigest()


def _type_name(value) -> str:
    # Not repr(): it may hold a memory address, and the hash would change from run to run.
    kind = value if isinstance(value, type) or callable(value) else type(value)
    return f'{kind.__module__}.{getattr(kind, "__qualname__", type(kind).__qualname__)}'


def describe_config(config, path: str | os.PathLike | None = None) -> dict:
    """A record's `config` block: path, `config_sha256` and the text (of an mmengine `Config`)."""
    block = dict(path=path or getattr(config, 'filename', None), sha256=config_sha256(config))
    if hasattr(config, 'pretty_text'):
        block['text'] = config.pretty_text
    return block


def metric(value: float | None, unit: str = '%', higher_is_better: bool = True) -> dict:
    """One entry of a record's `metrics`.

    Args:
        value: None where it is undefined, never -1 or 0.
        unit: '%' or 'fraction' (0..1) of a share, or any other text.
    """
    value = None if value is None else float(value)
    return dict(value=value, unit=unit, higher_is_better=higher_is_better)


def new_record(*, roots: Sequence[str | os.PathLike] = (), **fields) -> RunRecord:
    """A complete, validated record from the fields of one run.

    Filled in where not given: `schema_version`, `id`, `created`, `command` (this process's),
    `versions`, `device`, `commit` (`collect_environment`), an empty `variant`, and None for `seed`,
    `pretraining`, `budget` and every entry of `cost` that is not known. The rest must be given:
    `task`, `protocol`, `method`, `backbone`, `dataset`, `metrics`, `config`.

    Args:
        roots: folders that paths are written relative to (the run's work dir); see `portable`.
        **fields: the record's fields, as in `run_record.schema.json`.

    Raises:
        RecordError: a field is missing, unknown or of the wrong form, or a number is not finite.
    """
    filled = dict(
        schema_version=SCHEMA_VERSION,
        id=uuid.uuid4().hex[:12],
        created=datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%SZ'),
        command=list(sys.argv),
        variant={},
        seed=None,
        pretraining=None,
        budget=None,
    )
    if not {'versions', 'device', 'commit'} <= fields.keys():
        filled |= collect_environment()
    filled |= fields
    unknown = dict.fromkeys(('seconds', 'images_seen', 'flops', 'peak_memory_bytes'))
    filled['cost'] = unknown | dict(fields.get('cost') or {})
    record = RunRecord(portable(filled, roots))
    try:
        record['digest'] = digest(record)
    except (TypeError, UnicodeEncodeError) as error:
        raise RecordError(f'this record holds a value that JSON has no form for: {error}') from None
    validate_record(record)
    check_values(record)
    return record


def validate_record(record: Mapping, name: str = 'this record') -> None:
    """Check a record's form.

    Raises:
        RecordError: names every field that does not fit the schema, every number that is not
            finite and every path of a machine; `name` says which record it is.
    """
    version = record.get('schema_version') if isinstance(record, Mapping) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        older = version < SCHEMA_VERSION
        remedy = 'run that evaluation again' if older else 'use the mixae that wrote it, or newer'
        raise RecordError(
            f'{name}: schema version {version}, {"older" if older else "newer"} than the '
            f'{SCHEMA_VERSION} this version of mixae reads; {remedy}.'
        )
    if problems := find_problems(record):
        raise RecordError(f'{name} is not a valid run record: {"; ".join(problems)}.')


def check_values(record: Mapping, name: str = 'this record') -> None:
    """Check that every metric has a value that it can have.

    Records of old hold COCO's -1 for an undefined precision: they are read, and tables show no
    number for it (`mixae.results.compare`); none is written any more.

    Raises:
        RecordError: names the metrics, their values and what they can be.
    """
    found = (check_value(key, m['value'], m['unit']) for key, m in record['metrics'].items())
    if problems := [problem for problem in found if problem]:
        raise RecordError(f'{name}: {"; ".join(problems)}.')


def write_record(record: Mapping, folder: str | os.PathLike) -> Path:
    """Write a record as `<time>-<task>-<id>.record.json` into `folder`, which is made if missing.

    The file appears whole or not at all, and an existing one is never replaced.

    Returns:
        The path of the new file.

    Raises:
        RecordError: the record is not valid.
        FileExistsError: a file of that name is there already.
    """
    validate_record(record)
    check_values(record)
    if digest(record) != record['digest']:
        record = {**record, 'digest': digest(record)}
    time = re.sub(r'[-:]', '', record['created'])
    path = Path(folder) / f'{time}-{record["task"]}-{record["id"]}{SUFFIX}'
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(path, f'{text}\n', overwrite=False)
    return path


def read_record(path: str | os.PathLike) -> RunRecord:
    """Read one record and check that it is whole, of this schema, finite and as it was written.

    Raises:
        RecordError: names the file and says what is wrong and what to do.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding='utf-8')
    except OSError as error:
        raise RecordError(f'{path}: cannot be read ({error.strerror}).') from error
    except UnicodeDecodeError as error:
        raise RecordError(f'{path}: not UTF-8 text ({error}); is this a run record?') from error
    try:
        content = json.loads(text, parse_constant=float)
    except (ValueError, RecursionError) as error:
        cause = getattr(error, 'msg', error)
        if isinstance(error, json.JSONDecodeError):
            cause = f'line {error.lineno}: {cause}'
        raise RecordError(
            f'{path}: not a whole JSON document ({cause}); it was cut off or damaged. Remove it '
            'and run that evaluation again.'
        ) from error
    if not isinstance(content, dict):
        raise RecordError(f'{path}: holds a JSON {type(content).__name__}, not a run record.')
    validate_record(content, str(path))
    if digest(content) != content['digest']:
        raise RecordError(
            f'{path}: its content does not match its digest, so it was changed after it was '
            'written. Restore the file, or remove it and run that evaluation again.'
        )
    record = RunRecord(content)
    record.path = path
    return record


def find_records(
    sources: str | os.PathLike | Iterable[str | os.PathLike],
) -> list[Path]:
    """The record files (`*.record.json`) under folders, and files as they are given.

    Raises:
        RecordError: a source does not exist, or a folder holds no record.
    """
    if isinstance(sources, (str, os.PathLike)):
        sources = [sources]
    paths = []
    for source in map(Path, sources):
        if source.is_dir():
            found = sorted(source.rglob(f'*{SUFFIX}'))
            if not found:
                raise RecordError(
                    f'{source}: no run record (*{SUFFIX}) in this folder or below. Every '
                    'evaluation writes one into its work dir; give the folder that holds them.'
                )
            paths += found
        elif source.exists():
            paths.append(source)
        else:
            raise RecordError(f'{source}: no such file or folder.')
    return list(dict.fromkeys(paths))


def read_records(
    sources: str | os.PathLike | Iterable[str | os.PathLike],
) -> list[RunRecord]:
    """Read all records of folders and files, oldest first.

    Raises:
        RecordError: lists every bad file (see `read_record`), every pair of records of one id, and
            every pair for one cell of a table, that is of the same run, evaluation and seeds
            (`cell_key`). Copies of one record are one.
    """
    contents, problems = {}, []
    for path in find_records(sources):
        try:
            record = read_record(path)
            contents.setdefault(record['digest'], record)
        except RecordError as error:
            problems.append(str(error))
    records = list(contents.values())
    by_id = defaultdict(list)
    for record in records:
        by_id[record['id']].append(str(record.path))
    problems += [
        f'{len(paths)} different records have the id {id_}: {", ".join(paths)}. Keep one of them.'
        for id_, paths in by_id.items()
        if len(paths) > 1
    ]
    cells = defaultdict(list)
    for record in records:
        key = cell_key(record)
        for name in record['metrics']:
            cells[key, name].append(record)
    clashes = {}  # the files in a clash -> the metrics they share
    for (_, name), same in cells.items():
        if len(same) > 1:
            clashes.setdefault(tuple(str(record.path) for record in same), (same[0], []))[1].append(
                name
            )
    for paths, (record, names) in clashes.items():
        problems.append(
            f'{len(paths)} records for one cell ({", ".join(names)} of {record["task"]}, '
            f'{record["method"]} on {record["dataset"]["name"]}, seed {record["seed"]}): '
            f'{", ".join(paths)}. Keep one of them. A repeat has another '
            'seed; a setting that differs must be in the variant, such as variant.rate=base_lr.'
        )
    if problems:
        raise RecordError('\n'.join(problems))
    return sorted(records, key=lambda record: (record['created'], record['id']))


def cell_key(record: Mapping) -> str:
    """What makes two records the same repeat of the same cell: all but when, where and how fast."""
    pretraining = record['pretraining'] or {}
    teacher = pretraining.get('teacher') or {}
    return _canonical(
        [
            *(record[key] for key in ('task', 'protocol', 'method', 'backbone', 'dataset', 'seed')),
            settings_apart(record['method'], record['variant']),
            *(
                pretraining.get(key)
                for key in (
                    'dataset',
                    'epochs',
                    'part',
                    'images_seen',
                    'labels_in_pretraining',
                    'seed',
                )
            ),
            *(teacher.get(key) for key in ('epochs', 'images_seen')),
        ]
    )
