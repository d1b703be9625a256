"""``dataset.json``: what the images of a folder are, noted beside them by the tool that made it."""

import json
import logging
import os
from pathlib import Path

from mmengine.logging import print_log

from mixae.checkpoints.account_form import is_text
from mixae.files import write_whole

NAME = 'dataset.json'


def write_about(root: str | os.PathLike, **about) -> None:
    """Note what the images below ``root`` are: ``description``, in words, and whatever else."""
    write_whole(Path(root) / NAME, json.dumps(about, indent=2) + '\n')


def read_about(root: str | os.PathLike) -> dict:
    """The note of a folder; empty where there is none, or, with a warning, where it is damaged."""
    path = Path(root) / NAME
    try:
        about = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        problem = str(error)
    else:
        if isinstance(about, dict) and _is_plain(about.get('description', '')):
            return about
        problem = 'no object with a description in words'
    print_log(
        f'{path} is damaged ({problem}) and is not used: records do not describe the data. The '
        'tool in tools/datasets that prepared it writes it again.',
        logger='current',
        level=logging.WARNING,
    )
    return {}


def _is_plain(description) -> bool:
    return isinstance(description, str) and is_text(description)
