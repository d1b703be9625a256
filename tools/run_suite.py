#!/usr/bin/env python
"""Run a suite: pre-train, evaluate, and show the table. The same command continues it."""

import argparse
import shlex
import signal
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('suite', help='config of the suite, see configs/suites')
    parser.add_argument(
        '--work-dir', help='folder of the results (default: work_dirs/<name of the suite>)'
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='print runs, states, times and commands, and run nothing',
    )
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        action='extend',
        help='seeds to run (default: those of the suite)',
    )
    parser.add_argument('--gpus', type=int, help='processes per run (default: as the suite says)')
    parser.add_argument(
        '--jobs', type=int, help='runs at the same time (default: one per GPU, or per core up to 4)'
    )
    parser.add_argument(
        '--only',
        nargs='+',
        action='extend',
        default=[],
        metavar='RUN',
        help='do only these runs and those that they need',
    )
    parser.add_argument(
        '--on-change',
        choices=['stop', 'redo'],
        help='what to do about results whose settings have changed since (default: of the suite)',
    )
    parser.add_argument(
        '--slurm',
        metavar='PARTITION',
        help='submit each run as a SLURM job that starts after those it needs',
    )
    parser.add_argument(
        '--sbatch-args', type=shlex.split, default='', help='further arguments of sbatch'
    )
    parser.add_argument(
        '--launcher',
        choices=['local', 'slurm'],
        default='local',
        help="'slurm' starts runs with srun inside an allocation, as the jobs of --slurm do",
    )
    return parser.parse_args()


if __name__ == '__main__':
    args = parse_args()
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        # Until the imports are through, which takes seconds, Ctrl-C has nothing to tidy up.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mixae.engine.tool import run_tool
    from mixae.suite.run import main

    run_tool(lambda: sys.exit(main(args)), 'the same command continues it')
