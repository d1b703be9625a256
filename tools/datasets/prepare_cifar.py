#!/usr/bin/env python
"""Prepare CIFAR-10 or CIFAR-100 as folders of images."""

import argparse

from mixae.datasets.cifar import CIFAR, describe_folder, prepare_cifar
from mixae.engine.tool import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('name', choices=list(CIFAR), help='data set')
    parser.add_argument('--out', help='folder to write (default: data/NAME)')
    parser.add_argument(
        '--no-download', action='store_true', help='use the archive in OUT/original'
    )
    parser.add_argument(
        '--describe',
        metavar='TEXT',
        help='check images that are already in OUT (train/CLASS/..., test/CLASS/...), and describe '
        'them for the run records',
    )
    args = parser.parse_args()
    out = args.out or f'data/{args.name}'
    if args.describe is not None:
        describe_folder(out, args.name, args.describe)
    else:
        prepare_cifar(args.name, out, download=not args.no_download)


if __name__ == '__main__':
    run_tool(main)
