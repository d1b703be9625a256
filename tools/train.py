#!/usr/bin/env python
"""Train a config: pre-training, fine-tuning, detection, segmentation."""

import argparse

from mixae.engine.launch import add_common_arguments, load_config, train
from mixae.engine.tool import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        default=False,
        help='continue from this checkpoint, or from the newest in the work directory',
    )
    parser.add_argument(
        '--amp', action='store_true', help='train in bfloat16 (automatic mixed precision)'
    )
    parser.add_argument(
        '--pretrained', help="checkpoint that a transfer run starts from, or 'scratch'"
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='start again in a used work directory; its checkpoints are moved aside',
    )
    parser.add_argument('--no-validate', action='store_true', help='do not validate while training')
    add_common_arguments(parser)
    args = parser.parse_args()
    train(
        load_config(args),
        resume=args.resume,
        amp=args.amp,
        pretrained=args.pretrained,
        overwrite=args.overwrite,
        no_validate=args.no_validate,
    )


if __name__ == '__main__':
    run_tool(main)
