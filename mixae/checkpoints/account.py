"""A checkpoint's account of itself: what was trained and what it cost, under the key 'mixae'."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

from mixae.checkpoints.account_form import KEY
from mixae.checkpoints.read import read_checkpoint
from mixae.errors import ConfigError
from mixae.files import file_sha256

# A checkpoint that says nothing of itself may have started from anything.
UNKNOWN_ORIGIN = dict(method='unknown', variant={}, curves=None, pretraining=None)

# Of a run's settings, those that may change with the machine: the effective batch is the same.
_OF_HARDWARE = re.compile(
    r'^(train_dataloader\.batch_size|compile'
    r'|optim_wrapper\.(accumulative_counts|type|dtype|loss_scale|optimizer\.(fused|foreach)))\b'
)
# Of a checkpoint's account of itself, what a record's `pretraining` block takes.
PRETRAINING_FIELDS = (
    'config',
    'config_sha256',
    'dataset',
    'epochs',
    'images_seen',
    'seconds',
    'device',
    'device_count',
    'flops',
    'labels_in_pretraining',
    'teacher',
    'seed',
    'commit',
)


def pretraining_block(checkpoint: str | Path, told: dict) -> dict:
    """A record's ``pretraining`` block; what a checkpoint of others does not tell stays null.

    Args:
        checkpoint (str | Path): The pre-training checkpoint.
        told (dict): Its account of itself, under ``'mixae'``; may be empty.
    """
    unknown = dict.fromkeys(PRETRAINING_FIELDS)
    # Whether labels were used is not known of a checkpoint that says nothing of itself.
    unknown |= dict(dataset='unknown', labels_in_pretraining=None)
    known = {k: told[k] for k in PRETRAINING_FIELDS if told.get(k) is not None}
    own = dict(checkpoint=Path(checkpoint).name, sha256=file_sha256(checkpoint))
    length = length_run(told) or ''
    # The rate of an unfinished schedule is still high: not the same as a short schedule's end.
    part = dict(part=length) if '-of-' in length else {}
    return unknown | known | own | part | _recipe(told.get('schedule') or {})


def _recipe(schedule: Mapping) -> dict:
    """The hash of what decides a run but for its seed: runs of two are no repeats."""
    batch = [schedule.get(key) for key in ('world_size', 'batch_size', 'accumulation')]
    if None in batch or not schedule.get('settings'):
        return {}
    settings = {k: v for k, v in schedule['settings'].items() if not _OF_HARDWARE.search(k)}
    text = json.dumps([math.prod(batch), settings], sort_keys=True)
    return dict(recipe_sha256=hashlib.sha256(text.encode()).hexdigest())


def trained_for_a_task(told: Mapping) -> bool:
    """Whether an account is of fine-tuning, detection or segmentation: its weights saw labels."""
    return told.get('images') is not None


def read_origin(checkpoint: str | Path) -> dict:
    """Method, variant, curves and ``pretraining`` block of a pre-training checkpoint.

    A checkpoint of fine-tuning, detection or segmentation has the method that it started from, with
    its config as a setting of the variant, ``then``; it has seen labels.
    """
    told = read_checkpoint(checkpoint).get(KEY, {})
    if trained_for_a_task(told):
        before = told.get('origin') or dict(method='scratch', variant={})
        then = Path(told.get('config') or 'unknown').stem
        told = {
            **told,
            'method': before['method'],
            'variant': {**before['variant'], 'then': then},
            'labels_in_pretraining': True,
        }
    return dict(
        method=told.get('method') or 'unknown',
        variant=told.get('variant') or {},
        curves=told.get('curves'),
        pretraining=pretraining_block(checkpoint, told),
    )


CARD = {'method': str, 'dataset': str, 'epochs': (int, float), 'labels': bool, 'source': str}


def check_card(card: Mapping) -> None:
    """What is told of an encoder of others is of its kind.

    Raises:
        ConfigError: An entry that there is not, or one of a wrong type or range.
    """
    for key, value in card.items():
        fits = key in CARD and isinstance(value, CARD[key])
        if key == 'epochs' and fits:
            fits = not isinstance(value, bool) and 0 <= value < math.inf
        if not fits:
            raise ConfigError(
                f'encoder_card.{key}={value!r}: expected method, dataset and source (texts), '
                'epochs (a number from 0) and labels (True or False).'
            )


def with_card(origin: dict, card: Mapping) -> dict:
    """What a checkpoint of others does not tell, told by whoever evaluates it.

    Args:
        origin (dict): Of :func:`read_origin`.
        card (Mapping): 'method' (its name in tables), 'dataset' (of its pre-training), 'epochs',
            'labels' (whether its pre-training saw labels) and 'source' (where the weights are
            from). What is left out stays unknown.

    Raises:
        ConfigError: As :func:`check_card`.
    """
    check_card(card)
    pretraining = dict(origin['pretraining'] or {})
    names = dict(dataset='dataset', epochs='epochs', labels='labels_in_pretraining')
    told = {name: card[key] for key, name in names.items() if key in card}
    told |= dict(source=card['source']) if 'source' in card else {}
    return {
        **origin,
        'method': card.get('method', origin['method']),
        'pretraining': pretraining | told,
    }


def length_run(account: Mapping) -> str | None:
    """The length of a training run as protocols name it, with how much of it was run if not all.

    ``'8e'``, ``'3e-of-8e'`` (a checkpoint of epoch 3), ``'3e-of-8e-stopped-early'``.

    Args:
        account (Mapping): ``length``, as in the config, and how far the run got: ``epochs``, and
            ``iterations`` of ``max_iters``. Older checkpoints have ``epochs`` alone.
    """
    length, epochs = account.get('length'), account.get('epochs')
    iterations, total = account.get('iterations'), account.get('max_iters')
    if not length:
        return None
    if not length.endswith(('e', 'i')):  # of a kNN, its k
        return length
    planned = int(length[:-1])
    if iterations is None or total is None:
        part = f'{epochs}e' if epochs and length.endswith('e') and epochs < planned else None
    elif iterations >= total:
        part = None
    elif epochs and length.endswith('e') and epochs * total == iterations * planned:
        part = f'{epochs}e'
    else:
        part = f'{iterations}i'
    stopped = 'stopped-early' if part and account.get('stopped_early') else None
    return '-'.join(filter(None, (part, 'of' if part else None, length, stopped)))
