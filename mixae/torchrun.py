"""torchrun as tools/dist_*.sh start it: ``python -m mixae.torchrun [arguments of torchrun]``.

Three things differ from torchrun's own:

- What a process says of its end is the last thing on the screen, one line, and its exit status is
  that of the run. torchrun's report of 30 lines buries the line and has a status of its own.
- On one node the store that the processes meet at listens on the loopback interface only.
- The processes know whose children they are (:func:`mixae.engine.distributed.end_with_parent`).
"""

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import static_tcp_rendezvous

from mixae.errors import EXIT_PREEMPTED, LAUNCHER


def main(arguments: list[str] | None = None) -> int:
    """Run a command as torchrun does; returns the exit status."""
    args = run.parse_args(arguments)
    os.environ[LAUNCHER] = str(os.getpid())
    logging.disable(logging.ERROR)  # of this process: what ends a run is said below
    try:
        if args.nnodes in ('1', '1:1') and args.rdzv_backend == 'static':
            stay_on_this_machine(args)
        run.run(args)
    except ChildFailedError as error:
        line, status = explain(error.failures.values())
        if line:
            print(f'\nerror: {line}', file=sys.stderr)
        return status
    except SignalException as error:
        if error.sigval == signal.SIGTERM:
            return EXIT_PREEMPTED
        print('interrupted; --resume continues from the last checkpoint', file=sys.stderr)
        return 128 + error.sigval
    except OSError as error:
        print(f'error: the processes cannot be started: {error}.', file=sys.stderr)
        return 1
    return 0


def stay_on_this_machine(args) -> None:
    """Let the store and gloo listen on the loopback interface.

    Raises:
        OSError: Something else listens on the port.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(('127.0.0.1', args.master_port))
        listener.listen(1024)
    except OSError as error:
        raise OSError(f'port {args.master_port} is taken; PORT=... names another') from error
    args.master_addr, args.master_port = listener.getsockname()
    static_tcp_rendezvous.TCPStore = partial(
        static_tcp_rendezvous.TCPStore, master_listen_fd=listener.detach()
    )
    if Path('/sys/class/net/lo').exists():
        os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')


def explain(failures: Iterable[ProcessFailure]) -> tuple[str | None, int]:
    """What ended a run, in a line, and its exit status.

    What a process says of itself tells most, and that it lost the others least. One that has
    waited in vain ends first; torchrun then kills the one that it waited for. One without a
    message has printed a traceback, to which there is nothing to add.
    """
    failures = list(failures)
    if any(failure.exitcode == EXIT_PREEMPTED for failure in failures):
        return None, EXIT_PREEMPTED  # the first process has said so; the others may be slow to end
    reasons = {name: [] for name in ('told', 'waited', 'killed', 'silent', 'closed')}
    for failure in sorted(failures, key=lambda failure: failure.timestamp):
        if isinstance(failure.message, dict):
            kind = failure.message.get('extraInfo', {}).get('lost') or 'told'
            line = failure.message['message']
        elif failure.exitcode < 0:
            kind = 'killed'
            line = (
                f'process {failure.pid} of the run was ended by signal {-failure.exitcode} '
                f'({failure.signal_name()}). --resume continues from the last checkpoint.'
            )
        else:
            kind, line = 'silent', None
        status = failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
        reasons[kind].append((line, status))
    return next(found[0] for found in reasons.values() if found)


if __name__ == '__main__':
    sys.exit(main())
