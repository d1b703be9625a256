#!/usr/bin/env python
"""Run a suite: pre-train, evaluate, and show the table. A repeated call does what is missing."""

import argparse
import shlex
import signal
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('suite', help='a config of configs/suites')
    parser.add_argument('--work-dir', help='(default: work_dirs/<name of the suite>)')
    parser.add_argument(
        '--dry-run', action='store_true', help='print runs, states, times and commands; run nothing'
    )
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        action='extend',
        help='seeds to run (default: those of the suite)',
    )
    parser.add_argument('--gpus', type=int, help='processes per run (default: as the suite says)')
    parser.add_argument('--jobs', type=int, help='runs at a time (default: as the machine allows)')
    parser.add_argument(
        '--only',
        nargs='+',
        action='extend',
        default=[],
        metavar='RUN',
        help='do only these runs and those they need',
    )
    parser.add_argument(
        '--on-change',
        choices=['stop', 'redo'],
        help="results whose settings have changed since (default: as the suite says, or 'stop')",
    )
    parser.add_argument(
        '--slurm', metavar='PARTITION', help='submit each run as a job, after those it needs'
    )
    parser.add_argument(
        '--sbatch-args', type=shlex.split, default='', help='further arguments of sbatch'
    )
    parser.add_argument(
        '--launcher',
        choices=['local', 'slurm'],
        default='local',
        help="'slurm': start runs by srun, within an allocation (what --slurm's jobs do)",
    )
    return parser.parse_args()


if __name__ == '__main__':
    args = parse_args()
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        # Until the imports are through, which takes seconds, Ctrl-C has nothing to tidy up.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mixae.engine.launch import run_tool
    from mixae.suite.run import main

    run_tool(lambda: sys.exit(main(args)), 'the same command goes on where it was')
