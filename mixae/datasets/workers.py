"""Processes that load data, and cannot hand it over."""

import multiprocessing.queues
import os
import sys

from torch.utils.data import get_worker_info


def end_workers_that_lose_samples() -> None:
    """Make a process of a data loader end when a sample does not reach the training process.

    Where shared memory is full, Python prints a traceback in the process, drops the sample, and the
    training process waits for it for good. Once the process ends, torch's data loader raises.
    """
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_end)


def _end(error: Exception, sample, default=multiprocessing.queues.Queue._on_queue_feeder_error):
    if get_worker_info() is None:  # somebody else's queue
        default(error, sample)
        return
    print(f'A sample cannot be handed over: {error}', file=sys.stderr, flush=True)
    os._exit(1)
