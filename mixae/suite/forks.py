"""Runs as forks of one process that has imported everything.

Importing torch and the mm* packages takes seconds of a core, and a suite starts dozens of runs. A
fork begins with that done. It is no fork of the suite itself, whose display is a thread, but of a
fresh Python, which has a run's environment (OpenMP reads it when it is loaded) and no threads. A
run is then what it would be as a process of its own: the same command line, session, files, exit
status and end of the interpreter.
"""

import ctypes
import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

# What train.py, test.py and the tools of tools/analysis import.
MODULES = (
    'mixae.engine.launch',
    'mixae.models',
    'mixae.datasets',
    'mixae.evaluation',
    'mixae.evaluation.separability.command',
    'mixae.visualization.imae_pictures',
    'mixae.visualization.reconstruction',
    'mixae.visualization.curves',
)


def die_with(parent: int) -> None:
    """In a child: end when its parent is killed, where the system can do that (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # killed before that call
        os._exit(1)


def start_child(words: Sequence[str], **options) -> subprocess.Popen:
    """Start a process that ends with this one, in a session of its own.

    Ctrl-C is for this process alone, and waits until the other has started: Python drops what the
    handler of a signal raises in the callbacks that it runs around a fork.

    Args:
        words (Sequence[str]): The command.
        **options: Of ``subprocess.Popen``.
    """
    parent = os.getpid()
    before = signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    )

    def in_child() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        die_with(parent)

    try:
        return subprocess.Popen(words, start_new_session=True, preexec_fn=in_child, **options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Fork:
    """A run that is a fork: what a suite asks of a :class:`subprocess.Popen`."""

    def __init__(self, pid: int, forks: 'Forks') -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._forks = forks

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it is at work."""
        self._forks.update()
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Its exit status.

        Raises:
            subprocess.TimeoutExpired: It is still at work after so many seconds.
        """
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() >= until:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.02)
        return code


class Forks:
    """The process whose forks are runs; a context that ends it, and with it its forks.

    Args:
        environ (Mapping[str, str]): The environment of every run.
        modules (Sequence[str]): What it imports.
    """

    def __init__(self, environ: Mapping[str, str], modules: Sequence[str] = MODULES) -> None:
        self._running: dict[int, Fork] = {}
        # Of this kind of socket, a message arrives whole.
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # -P: packages are found where a tool finds them, not in the current folder.
            words = [sys.executable, '-P', '-m', 'mixae.suite.forks', str(theirs.fileno())]
            self._server = start_child(
                [*words, *modules],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def __enter__(self) -> 'Forks':
        return self

    def __exit__(self, *_) -> None:
        self._socket.close()
        self._server.terminate()
        self._server.wait()

    def start(self, words: Sequence[str], lock: int, log: int) -> Fork | None:
        """Start a Python program; the first one waits for the imports.

        Args:
            words (Sequence[str]): ``[sys.executable, file, argument, ..]``.
            lock, log (int): Descriptors of its standard input, and of its output and errors.

        Returns:
            Fork: The program at work; None where there is no forking: start a process.
        """
        try:
            request = json.dumps([os.getcwd(), *words[1:]]).encode()
            socket.send_fds(self._socket, [request], [lock, log])
            while message := self._socket.recv(100):
                if started := self._note(message):
                    return started
        except OSError:
            pass
        except BaseException:  # Ctrl-C while it imports
            self.__exit__()
            raise
        return None

    def update(self) -> None:
        """Note which runs have ended."""
        with suppress(OSError):
            while select.select([self._socket], [], [], 0)[0]:
                if not (message := self._socket.recv(100)):
                    break
                self._note(message)
        if self._server.poll() is None:
            return
        for pid, fork in list(self._running.items()):  # it was killed, and they get SIGTERM
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                self._running.pop(pid).returncode = fork.returncode = -signal.SIGTERM

    def _note(self, message: bytes) -> Fork | None:
        """Take in that a run has started, which is returned, or has ended."""
        pid, code = json.loads(message)
        started = None if pid in self._running else Fork(pid, self)
        fork = self._running.setdefault(pid, started)
        fork.returncode = code
        if code is not None:
            del self._running[pid]
        return started


def serve(connection: socket.socket, modules: Sequence[str]) -> list[str]:
    """Fork on request, until nobody is left to ask; returns in the forks alone.

    Args:
        connection (socket.socket): To a :class:`Forks`.
        modules (Sequence[str]): To import before.

    Returns:
        list[str]: The command line of the run that this fork is to be.
    """
    for name in modules:
        importlib.import_module(name)
    if (first := os.fork()) == 0:
        os._exit(0)
    os.waitpid(first, 0)
    if len(os.listdir('/proc/self/task')) > 1:  # now, as OpenBLAS ends its own before a fork
        sys.exit('a fork has none of the threads of its parent')
    gc.freeze()  # memory that nobody writes to is shared
    server, running = os.getpid(), 0
    while True:
        while running and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            running -= 1
            connection.send(json.dumps([ended[0], os.waitstatus_to_exitcode(ended[1])]).encode())
        if not select.select([connection], [], [], 0.1)[0]:
            continue
        request, descriptors, _, _ = socket.recv_fds(connection, 2**20, 2)
        if not request:
            sys.exit()
        if os.fork():
            running += 1
            for descriptor in descriptors:
                os.close(descriptor)  # the lock is held by the run
            continue
        os.setsid()
        die_with(server)
        lock, log = descriptors
        for source, target in ((lock, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        connection.send(json.dumps([os.getpid(), None]).encode())
        for descriptor in (lock, log, connection.detach()):
            os.close(descriptor)
        # What is drawn without a seed differs from run to run.
        random.seed()
        np.random.seed()
        torch.default_generator.seed()
        folder, *words = json.loads(request)
        os.chdir(folder)
        return words


if __name__ == '__main__':
    sys.argv = serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    runpy.run_path(sys.argv[0], run_name='__main__')
