#!/usr/bin/env python
"""Prepare Tiny-ImageNet: download, check, sort the validation images into classes."""

import argparse

from mixae.datasets.tiny_imagenet import ARCHIVE, prepare_tiny_imagenet
from mixae.engine.tool import run_tool


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--data-root', default='data/tiny_imagenet', help='folder to write')
    parser.add_argument('--archive', help=f'path of {ARCHIVE}, if you downloaded it yourself')
    args = parser.parse_args(argv)
    root = prepare_tiny_imagenet(args.data_root, args.archive)
    print(f'Tiny-ImageNet is in order in {root}.')


if __name__ == '__main__':
    run_tool(main)
