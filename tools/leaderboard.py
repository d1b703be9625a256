#!/usr/bin/env python
"""Turn run records into a table, one self-contained HTML page, or a model index file."""

import argparse
import gc
import sys

from mixae.errors import MixaeError, check_words
from mixae.results.names import COLUMNS
from mixae.results.write import FORMATS, PUBLISHED, write_leaderboard


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('records', nargs='*', help='folders that hold run records, or record files')
    parser.add_argument('--format', choices=FORMATS, default='text', help='(default: text)')
    parser.add_argument('--out', metavar='PATH', help='the file to write (default: the terminal)')
    parser.add_argument(
        '--columns',
        nargs='+',
        action='extend',
        metavar='COLUMN',
        help=f'any of {", ".join(COLUMNS)}, or task:metric (default: all that have values)',
    )
    parser.add_argument(
        '--published',
        nargs='?',
        choices=PUBLISHED,
        const='matching',
        default='none',
        help='show published numbers too: for the tasks and data sets of the records, or all',
    )
    parser.add_argument(
        '--images',
        nargs='+',
        action='extend',
        default=[],
        metavar='PATH',
        help='pictures to show on the page (html only)',
    )
    parser.add_argument('--method', help='method whose model index file is written (metafile only)')
    parser.add_argument('--title', help='title of the page (html only)')
    return parser.parse_args()


def main():
    args = parse_args()
    gc.disable()  # thousands of records are many objects that stay, and the process is short
    try:
        check_words(sys.argv)
        text = write_leaderboard(
            args.records,
            args.out,
            args.format,
            args.columns or list(COLUMNS),
            args.published,
            args.images,
            args.title,
            args.method,
        )
    except MixaeError as error:
        sys.exit(f'error: {error}')
    if args.out is None:
        sys.stdout.write(text)


if __name__ == '__main__':
    main()
