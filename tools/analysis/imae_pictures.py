#!/usr/bin/env python
"""Draw the pictures of the i-MAE paper: Figs. 1, 3, 4 and 5."""

import argparse

from mixae.engine.launch import read_config
from mixae.engine.options import add_options_argument
from mixae.engine.tool import run_tool
from mixae.visualization.imae_pictures import FIGURES, imae_picture


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add('figure', choices=list(FIGURES), help='Figs. 1, 3, 4 and 5 in this order')
    add('config', help='pre-training config of the i-MAE')
    add('checkpoint', help='checkpoint of the i-MAE')
    add('--data', required=True, help='config of a kNN or linear probe, whose images are drawn')
    add('--out', required=True, help='picture to write (.png)')
    add('--teacher', help='checkpoint of the MAE (for comparison and weights)')
    add(
        '--without-distillation',
        help='checkpoint of an i-MAE without distillation (for comparison)',
    )
    add('--pairs', type=int, default=2, help='number of pairs of images')
    add('--seed', type=int, default=0, help='seed of pairs and masks')
    add(
        '--factor',
        type=float,
        help='share of the subordinate image (default: 0.3; not for factors)',
    )
    add('--mask-ratio', type=float, help="mask ratio (default: the config's; not for mask-ratios)")
    add_options_argument(parser, '--cfg-options', 'the i-MAE config')
    add_options_argument(parser, '--data-options', 'the data config')
    args = parser.parse_args(argv)
    config = read_config(args.config, args.cfg_options)
    data = read_config(args.data, args.data_options)
    path = imae_picture(
        args.figure,
        config,
        args.checkpoint,
        data,
        args.out,
        teacher=args.teacher,
        without_distillation=args.without_distillation,
        pairs=args.pairs,
        seed=args.seed,
        factor=args.factor,
        mask_ratio=args.mask_ratio,
    )
    print(path)


if __name__ == '__main__':
    run_tool(main)
