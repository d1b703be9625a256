#!/usr/bin/env python
"""The demo: MAE, MixedAE and i-MAE on digit scenes, pre-trained and evaluated in minutes on a CPU.

A repeated call goes on where an interrupted one was, and only prints the result of a finished one.
"""

import argparse
import sys
from pathlib import Path

from mixae.demo import main

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', type=Path, help='(default: work_dirs/demo)')
    parser.add_argument('--seed', type=int, default=0, help='of every run (default 0)')
    parser.add_argument(
        '--quick', action='store_true', help='a smoke test: the numbers mean nothing'
    )
    args = parser.parse_args()
    args.work_dir = args.work_dir or Path(
        'work_dirs/demo_quick' if args.quick else 'work_dirs/demo'
    )
    sys.exit(main(vars(args)))
