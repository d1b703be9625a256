#!/usr/bin/env python
"""Estimate in two ways the mutual information of encoded tokens and masked patches."""

import argparse
from dataclasses import asdict

from mixae.engine.launch import read_config
from mixae.engine.options import add_options_argument
from mixae.engine.tool import run_tool
from mixae.evaluation.mutual_information.command import (
    Protocol,
    describe,
    format_table,
    mutual_information,
)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add('config', help='pre-training config of an MAE or a MixedAE')
    add('checkpoint', help="its checkpoint, or 'scratch' for random weights")
    add('--data', required=True, help='config of a kNN or linear probe, whose two splits are used')
    add('--steps', type=int, help='steps that the probe is trained for')
    add('--batch-size', type=int, help='images per step; sets the ceiling of InfoNCE')
    add('--components', type=int, help='principal components that describe a patch')
    add('--seed', type=int, help='seed of masks, order and probe')
    add('--records', metavar='FOLDER', help='folder to write a run record to')
    add('--budget', metavar='TEXT', help='the compute budget in words, for the record')
    add_options_argument(parser, '--cfg-options', 'the config')
    add_options_argument(parser, '--data-options', 'the data config')
    parser.set_defaults(**asdict(Protocol()))
    args = parser.parse_args(argv)
    protocol = Protocol(**{name: getattr(args, name) for name in asdict(Protocol())})
    config = read_config(args.config, args.cfg_options)
    data = read_config(args.data, args.data_options)
    found = mutual_information(
        config,
        args.checkpoint,
        data,
        protocol,
        folder=args.records,
        budget=args.budget or None,
    )
    print(format_table({args.checkpoint: found}, describe(protocol, found)))


if __name__ == '__main__':
    run_tool(main)
