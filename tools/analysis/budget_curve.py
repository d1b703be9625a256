#!/usr/bin/env python
"""Draw a column of the leaderboard over the images seen and the FLOPs of pre-training."""

import argparse
from pathlib import Path

from mixae.engine.tool import run_tool
from mixae.results.record import read_records
from mixae.visualization.budget import plot_budget


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'paths', nargs='+', type=Path, help='folders that hold run records, or record files'
    )
    parser.add_argument(
        '--column', default='linear', help='column of tools/leaderboard.py (default: linear)'
    )
    parser.add_argument(
        '--out', type=Path, default=Path('budget.png'), help='picture to write (.png)'
    )
    args = parser.parse_args()
    print(plot_budget(read_records(args.paths), args.column, args.out))


if __name__ == '__main__':
    run_tool(main)
