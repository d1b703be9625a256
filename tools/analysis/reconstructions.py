#!/usr/bin/env python
"""Draw what an MAE or MixedAE checkpoint reconstructs, next to the original images."""

import argparse
from pathlib import Path

from mixae.engine.launch import add_common_arguments, load_config
from mixae.engine.tool import run_tool
from mixae.visualization.reconstruction import reconstruction_picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='pre-training config of the checkpoint')
    parser.add_argument('checkpoint', help='pre-training checkpoint')
    parser.add_argument(
        'images', nargs='*', help='image files (default: images from the data of the config)'
    )
    parser.add_argument(
        '--out', type=Path, default=Path('reconstructions.png'), help='picture to write (.png)'
    )
    parser.add_argument(
        '--num-images',
        type=int,
        default=8,
        help='number of images to draw from the data (default: 8)',
    )
    parser.add_argument(
        '--split', help="split of digit scenes; 'test' has images that were not trained on"
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the masks')
    add_common_arguments(parser)
    args = parser.parse_args()
    path = reconstruction_picture(
        load_config(args),
        args.checkpoint,
        args.out,
        images=args.images,
        num_images=args.num_images,
        split=args.split,
        seed=args.seed,
    )
    print(path)


if __name__ == '__main__':
    run_tool(main)
