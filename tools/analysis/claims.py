#!/usr/bin/env python
"""Write a page that says what the records show about each claim of the papers."""

import argparse

from mixae.engine.tool import run_tool
from mixae.files import check_output, write_whole
from mixae.results.record import read_records
from mixae.results.verdicts import claims_page


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('records', nargs='*', help='folders that hold run records, or record files')
    add('--out', metavar='PATH', help='file to write (default: the terminal)')
    args = parser.parse_args(argv)
    if args.out:
        check_output(args.out)
    page = claims_page(read_records(args.records) if args.records else [])
    if args.out:
        write_whole(args.out, page)
    else:
        print(page, end='')


if __name__ == '__main__':
    run_tool(main)
