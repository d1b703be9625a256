#!/usr/bin/env python
"""Print how linearly separable an i-MAE's features are (Table 4 of the paper)."""

import argparse
from dataclasses import asdict

from mixae.engine.launch import read_config
from mixae.engine.options import add_options_argument
from mixae.engine.tool import run_tool
from mixae.evaluation.separability.command import format_table, table_4
from mixae.evaluation.separability.lasso import NORMALIZERS
from mixae.evaluation.separability.protocol import Protocol


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add('config', help='pre-training config of the i-MAE')
    add('checkpoint', nargs='+', help='checkpoints of i-MAE with one architecture and teacher')
    add('--teacher', required=True, help='checkpoint of their teacher; it is the baseline')
    add('--data', required=True, help='config of a kNN or linear probe, whose two splits are used')
    add('--without-distillation', help='checkpoint of an i-MAE trained without distillation')
    add('--alpha', type=float, help='strength of the lasso')
    add('--fit-part', type=float, help='share of the training split that the lasso is fitted on')
    add('--subordinate', type=float, help='constant share of the subordinate image')
    add('--beta', type=float, help='draw the shares from Beta(b, b) instead')
    add('--mask-ratio', type=float, help='share of masked patches')
    add('--same-class-ratio', type=float, help='share of same-class pairs (default: by chance)')
    add('--normalizer', choices=NORMALIZERS, help='what the NRMSE is divided by')
    add('--seed', type=int, help='seed of pairs, masks and shares')
    add('--records', metavar='FOLDER', help='folder to write run records to, one per row')
    add('--budget', metavar='TEXT', help='the compute budget in words, for the records')
    add_options_argument(parser, '--cfg-options', 'the i-MAE config')
    add_options_argument(parser, '--data-options', 'the data config')
    parser.set_defaults(**asdict(Protocol()))
    args = parser.parse_args(argv)
    protocol = Protocol(**{name: getattr(args, name) for name in asdict(Protocol())})
    config = read_config(args.config, args.cfg_options)
    data = read_config(args.data, args.data_options)
    results = table_4(
        config,
        args.checkpoint,
        args.teacher,
        data,
        protocol,
        without_distillation=args.without_distillation,
        folder=args.records,
        budget=args.budget or None,
    )
    print(format_table(results, protocol))


if __name__ == '__main__':
    run_tool(main)
