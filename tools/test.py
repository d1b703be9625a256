#!/usr/bin/env python
"""Evaluate a checkpoint: a probe of a pre-trained one, or the test of a fine-tuned one."""

import argparse

from mixae.engine.launch import add_common_arguments, load_config, test
from mixae.engine.tool import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        help="checkpoint to evaluate; for a probe, 'scratch' is a random encoder",
    )
    add_common_arguments(parser)
    args = parser.parse_args()
    test(load_config(args), args.checkpoint)


if __name__ == '__main__':
    run_tool(main)
