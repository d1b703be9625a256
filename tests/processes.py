"""Whether processes live, for tests that end them."""

import time

import psutil


def is_alive(pid: int) -> bool:
    """A process that has ended, but which its parent has not asked for, is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pids: list[int], seconds: float) -> bool:
    """Whether all of them end within a time."""
    until = time.monotonic() + seconds
    while any(map(is_alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(is_alive, pids))
