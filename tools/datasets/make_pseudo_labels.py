#!/usr/bin/env python
"""Cluster images by the features of a checkpoint, to pair them for i-MAE without labels.

Give the file to the sampler: ``train_dataloader.sampler.pseudo_labels=FILE``.
"""

import argparse

from mixae.engine.launch import read_config
from mixae.engine.options import add_options_argument
from mixae.engine.tool import run_tool
from mixae.evaluation.pseudo_labels import make_pseudo_labels


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog=__doc__.splitlines()[2]
    )
    parser.add_argument(
        'config', help='config of a kNN or linear probe, whose training split is clustered'
    )
    parser.add_argument('checkpoint', help='pre-training checkpoint that gives the features')
    parser.add_argument('out', help='file to write (.npz)')
    parser.add_argument('-k', type=int, required=True, help='number of pseudo-classes')
    parser.add_argument('--seed', type=int, default=0, help='seed of k-means')
    parser.add_argument(
        '--mini-batch',
        type=int,
        metavar='ROWS',
        help='use mini-batch k-means with this many images per step, for large data sets',
    )
    parser.add_argument('--device', help='device (default: the GPU if there is one)')
    add_options_argument(parser, '--cfg-options', 'the config')
    args = parser.parse_args(argv)
    sizes = make_pseudo_labels(
        read_config(args.config, args.cfg_options),
        args.checkpoint,
        args.out,
        k=args.k,
        seed=args.seed,
        mini_batch=args.mini_batch,
        device=args.device,
    )
    print(
        f'{args.out}: {sum(sizes)} images in {args.k} pseudo-classes of {min(sizes)} to '
        f'{max(sizes)} images.'
    )


if __name__ == '__main__':
    run_tool(main)
