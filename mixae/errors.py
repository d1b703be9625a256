"""Errors that are messages to a person: one line that says what was given, expected, and to do.

Every other exception is a defect and keeps its traceback. Tools catch :class:`MixaeError` in one
place (:func:`mixae.engine.tool.run_tool`).
"""

import re
from collections.abc import Sequence

EXIT_PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: try again later
LAUNCHER = 'MIXAE_LAUNCHER'  # the environment variable with the process id of mixae.torchrun
_LONGEST = 2000  # characters of a message
_MAY_BE_EMPTY = ('--budget', '--title', '--sbatch-args')
_UNSEEN = re.compile(r'[^\n\t -~]')


def visible(text: str) -> str:
    r"""`text` with what is obeyed instead of seen spelt out, as Python spells it: `\x1b`, `\u202e`.

    Escape sequences would steer a terminal and bidirectional controls turn a name around, wherever
    a name of others is shown. Line breaks and tabs stay.
    """
    if text.isprintable():
        return text
    return _UNSEEN.sub(lambda c: c[0] if c[0].isprintable() else ascii(c[0])[1:-1], text)


def describe_error(error: BaseException) -> str:
    """The kind of a foreign error and its message, without line breaks and cut where it is long."""
    text = ' '.join(str(error).split()).rstrip('.')
    return f'{type(error).__name__}: {text if len(text) <= 300 else f"{text[:297]}..."}'


class MixaeError(Exception):
    """A message to a person, in which nothing steers the terminal, and which is not endless."""

    exit_status = 1

    def __init__(self, *args) -> None:
        super().__init__(*(_fit(visible(arg)) if isinstance(arg, str) else arg for arg in args))


def _fit(text: str) -> str:
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f'{text[:half]} [...] {text[-half:]}'


def check_words(words: Sequence[str]) -> None:
    """No word of a command line is empty: it would count as not given.

    Raises:
        ConfigError: Names the word before it.
    """
    for before, word in zip(words, words[1:], strict=False):
        if not word and before not in _MAY_BE_EMPTY:
            raise ConfigError(
                f"The word after {before} is empty (''): give one, or leave both out. A variable "
                'of the shell may not be set.'
            )


class Preempted(MixaeError):
    """A run that was told to end, and can be resumed."""

    exit_status = EXIT_PREEMPTED


class ConfigError(MixaeError, ValueError):
    """A config that cannot be run as it stands."""


class InstallError(MixaeError, ImportError):
    """Packages that are not the ones that were meant."""


class StartError(MixaeError, RuntimeError):
    """A run that its config does not let start: a part that cannot be built, or a first step."""


class DataError(MixaeError, ValueError):
    """Data that is missing, is not what the config says, or cannot be read."""


class CheckpointError(MixaeError, ValueError):
    """A checkpoint that is not what the run needs."""


class OutputError(MixaeError, OSError):
    """A file that cannot be written where it should."""


class NotFiniteError(MixaeError, FloatingPointError):
    """A loss, a gradient or a feature that is not finite."""


class RecordError(MixaeError, ValueError):
    """A run record that cannot be trusted."""


class TableError(MixaeError, ValueError):
    """A table that cannot be built as asked."""


class SuiteError(MixaeError, ValueError):
    """A suite that cannot be run as asked."""


class BusyError(MixaeError):
    """A folder that another process is at work on."""
