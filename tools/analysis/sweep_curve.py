#!/usr/bin/env python
"""Draw a metric for each row, over a swept setting, or against another metric over all runs."""

import argparse

from mixae.engine.tool import run_tool
from mixae.results.record import read_records
from mixae.visualization.sweeps import plot_rank_correlation, plot_rows, plot_sweep


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('records', nargs='+', help='folders that hold run records, or record files')
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        '--setting', help='the swept setting, such as mix_ratio (default: one point per row)'
    )
    what.add_argument(
        '--against',
        metavar='COLUMN',
        help='draw one point per run against this column, such as topk_accuracy',
    )
    add('--column', required=True, help='column of the leaderboard, such as linear')
    add('--out', required=True, metavar='PATH', help='picture to write')
    args = parser.parse_args(argv)
    records = read_records(args.records)
    if args.setting:
        print('\n'.join(plot_sweep(records, args.setting, args.column, args.out)))
        return
    if not args.against:
        print('\n'.join(plot_rows(records, args.column, args.out)))
        return
    found = plot_rank_correlation(records, args.against, args.column, args.out)
    print(
        f'Spearman {found.rho:.3f}, 95 % interval {found.low:.3f} to {found.high:.3f}, '
        f'{found.runs} runs'
    )


if __name__ == '__main__':
    run_tool(main)
