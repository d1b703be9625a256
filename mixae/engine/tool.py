"""How a tool ends: with one line for every mistake, and a traceback for a defect."""

import contextlib
import errno
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch.distributed
from mmengine.config import Config
from mmengine.dist import is_distributed
from mmengine.logging import MMLogger

from mixae.derive.config import READ
from mixae.derive.values import nodes, short
from mixae.engine.distributed import end_with_parent, lost_connection, tell_launcher
from mixae.engine.runner import MixaeRunner
from mixae.errors import (
    LAUNCHER,
    ConfigError,
    MixaeError,
    Preempted,
    StartError,
    check_words,
    describe_error,
)
from mixae.registry import being_built

# Of a disk that is full or cannot be written, of folders in place of files, of missing rights.
_OF_THE_MACHINE = {
    getattr(errno, name)
    for name in (
        'ENOSPC',
        'EDQUOT',
        'EROFS',
        'EACCES',
        'EPERM',
        'EEXIST',
        'EISDIR',
        'ENOTDIR',
        'ENAMETOOLONG',
    )
}


@contextlib.contextmanager
def starting(cfg: Config, runner: MixaeRunner | None = None) -> Iterator[None]:
    """What fails before the first step or batch has ended becomes a line: it is the config's.

    The log file gets the traceback.

    Args:
        cfg (Config): The config.
        runner (MixaeRunner, optional): Once it is built.

    Raises:
        StartError: Names the component that cannot be built, or the place in the code.
    """
    try:
        yield
    except MixaeError as error:
        if error.__cause__ is not None:
            _log_traceback()
        raise
    except OSError:
        raise
    except Exception as error:
        _log_traceback()
        known = _is_interrupt(error) or lost_connection(error) or _of_the_machine(error)
        if known or (runner is not None and runner.has_started):
            raise
        what, options = 'The run cannot start', being_built(error)
        if options is not None:
            place, given = _find(options, cfg)
            what = f'{place}={short(given, 200)} cannot be built'
        last = traceback.extract_tb(error.__traceback__)[-1]
        reason = describe_error(error) if str(error) else last.line  # a bare assert
        raise StartError(
            f'{what}: {reason} ({Path(last.filename).name}, line {last.lineno}).'
        ) from error


def _find(options: Mapping, cfg: Config) -> tuple[str, Mapping]:
    """The part of a config, before all that was derived, that a component is built from.

    Returns:
        tuple[str, Mapping]: Its place, and the part; the class and no options for none.
    """
    name = str(options.get('type')).split('.')[-1]
    alike = [
        (path, part)
        for path, part in nodes({section: cfg.get(section) for section in READ})
        if isinstance(part, Mapping) and str(part.get('type')).split('.')[-1] == name
    ]
    return max(
        alike,
        key=lambda one: sum(str(value) == str(options.get(key)) for key, value in one[1].items()),
        default=(name, {}),
    )


def run_tool(main, interrupted: str = '--resume continues from the last checkpoint') -> None:
    """Run a tool's ``main``; messages to a person end in one line, as its last output.

    Exit status 1 after an error, 130 after Ctrl-C, 75 where SIGTERM has ended a run that
    ``--resume`` continues.
    """
    end_with_parent()
    try:
        check_words(sys.argv)
        main()
        _end_together()
    except Preempted as error:
        if _is_first():
            print(f'\n{error}', file=sys.stderr)
        _end_together()
        sys.exit(error.exit_status)
    except MixaeError as error:
        # torch appends a worker's traceback to the message; its last line is the message.
        message = str(error)
        if 'Original Traceback' in message:
            message = message.strip().splitlines()[-1].partition(': ')[2]
        # Every process meets an error of the config; an image is read by one of them alone.
        if not tell_launcher(message) and (_is_first() or not isinstance(error, ConfigError)):
            _print_error(message)
        sys.exit(error.exit_status)
    except (KeyboardInterrupt, Exception) as error:
        if _is_interrupt(error):
            if _is_first() and LAUNCHER not in os.environ:
                print(f'interrupted; {interrupted}', file=sys.stderr)
            sys.exit(130)
        kind, message = lost_connection(error) or (None, _of_the_machine(error))
        if message is None:
            raise
        if not tell_launcher(message, lost=kind):
            _print_error(message)
        elif kind:
            time.sleep(2)  # it ends this process when it has seen which was the first to fail
        sys.exit(1)


def _log_traceback() -> None:
    for handler in MMLogger.get_current_instance().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.stream.write(traceback.format_exc())
            handler.flush()


def _of_the_machine(error: Exception) -> str | None:
    """What an error says of this machine, not of the code: its disk, its rights, its memory."""
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE and error.filename:
        return f'{error.filename}: {error.strerror}.'
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f'{error.strerror}: nothing more can be written to the disk of the work directory.'
    if isinstance(error, torch.OutOfMemoryError):
        return (
            f'{describe_error(error)}. Lower the batch_size of the data loader; '
            'optim_wrapper.accumulative_counts keeps the effective batch.'
        )
    reason = (str(error).strip().splitlines() or [''])[-1]
    if re.search(r'_impl: implementation for device cuda(:\d+)? not found', reason):
        return (
            f"{reason.strip('.')}: mmcv's operators, which detection needs, were compiled without "
            'CUDA. Compile mmcv again where nvcc is (docs/install.md), or run on the CPU with '
            'CUDA_VISIBLE_DEVICES= before the command.'
        )
    if reason.startswith('DataLoader worker (pid') or 'memory(shm)' in reason:
        return (
            f'a process that loads data ended ({reason.strip(".")}). Memory, or shared memory '
            '(/dev/shm; docker run --shm-size), was too small, or somebody ended it: lower '
            'num_workers or batch_size of the data loaders. --resume continues.'
        )
    return None


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether an error is Ctrl-C; mmengine makes a SyntaxError of it while it formats a config."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _is_first() -> bool:
    return os.environ.get('RANK', '0') == '0'


def _print_error(message: str) -> None:
    sys.stdout.flush()
    # A line of its own: a progress bar may have left one open.
    print(f'\nerror: {message}', file=sys.stderr)


def _end_together() -> None:
    """Wait for the other processes.

    A process that exits with its group's threads at work while another still writes has been seen
    to abort.
    """
    if is_distributed():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
