#!/usr/bin/env python
"""Draw predictions of a detector or segmentor: truth on the left, prediction on the right."""

import argparse

from mixae.engine.launch import add_common_arguments, load_config
from mixae.engine.tool import run_tool
from mixae.visualization.dense_pictures import draw_predictions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='a checkpoint that the config trained')
    parser.add_argument('--out', required=True, help='folder to write the pictures to')
    parser.add_argument(
        '--count', type=int, default=8, help='images to draw, evenly spaced (default: 8)'
    )
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], default='test', help='(default: test)'
    )
    parser.add_argument(
        '--threshold',
        type=float,
        default=0.3,
        help='lowest score of a box that is drawn (default: 0.3)',
    )
    add_common_arguments(parser)
    args = parser.parse_args()
    paths = draw_predictions(
        load_config(args),
        args.checkpoint,
        args.out,
        count=args.count,
        split=args.split,
        threshold=args.threshold,
    )
    print(f'{len(paths)} pictures in {args.out}')


if __name__ == '__main__':
    run_tool(main)
