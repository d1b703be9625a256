"""A checkpoint's account of itself: what was trained and what it cost, under the key 'mixae'."""

from pathlib import Path

from mixae.checkpoints.account_form import KEY
from mixae.checkpoints.read import read_checkpoint
from mixae.files import file_sha256

# A checkpoint that says nothing of itself may have started from anything.
UNKNOWN_ORIGIN = dict(method='unknown', variant={}, curves=None, pretraining=None)

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
    unknown |= dict(dataset='unknown', labels_in_pretraining=False)
    known = {k: told[k] for k in PRETRAINING_FIELDS if told.get(k) is not None}
    own = dict(checkpoint=Path(checkpoint).name, sha256=file_sha256(checkpoint))
    return unknown | known | own


def read_origin(checkpoint: str | Path) -> dict:
    """Method, variant, curves and ``pretraining`` block of a pre-training checkpoint."""
    told = read_checkpoint(checkpoint).get(KEY, {})
    return dict(
        method=told.get('method') or 'unknown',
        variant=told.get('variant') or {},
        curves=told.get('curves'),
        pretraining=pretraining_block(checkpoint, told),
    )
