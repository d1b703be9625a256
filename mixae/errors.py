"""Errors that are messages to a person: one line that says what was given, expected, and to do.

Every other exception is a defect and keeps its traceback. Tools catch :class:`MixaeError` in one
place (:func:`mixae.engine.launch.run_tool`).
"""

EXIT_PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: try again later
LAUNCHER = 'MIXAE_LAUNCHER'  # the environment variable with the process id of mixae.torchrun


class MixaeError(Exception):
    """A message to a person."""

    exit_status = 1


class Preempted(MixaeError):
    """A run that was told to end, and can be resumed."""

    exit_status = EXIT_PREEMPTED


class ConfigError(MixaeError, ValueError):
    """A config that cannot be run as it stands."""


class DataError(MixaeError, ValueError):
    """Data that is missing, is not what the config says, or cannot be read."""


class CheckpointError(MixaeError, ValueError):
    """A checkpoint that is not what the run needs."""


class NotFiniteError(MixaeError, FloatingPointError):
    """A loss, a gradient or a feature that is not finite."""


class RecordError(MixaeError, ValueError):
    """A run record that cannot be trusted."""


class TableError(MixaeError, ValueError):
    """A table that cannot be built as asked."""


class SuiteError(MixaeError, ValueError):
    """A suite that cannot be run as asked."""
