#!/usr/bin/env python
"""Evaluate any encoder with the protocols of this project; write records and a table.

ENCODER is a name of timm, whose weights are downloaded, or a local checkpoint. A checkpoint is read
into the ViT of the data set's protocols: ViT-B/16 for imagenet, ViT-Ti/4 for cifar10, ViT-Mini/8
for digit_scenes. For any other architecture or size give --model.
"""

import argparse
import signal
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('encoder', help='timm:NAME, hf-hub:USER/NAME, or the path of a checkpoint')
    parser.add_argument('--model', help='architecture of the checkpoint, by its name in timm')
    parser.add_argument(
        '--part', help="encoder to load if a checkpoint has several, such as 'teacher'"
    )
    parser.add_argument(
        '--data', default='digit_scenes', help='data set to evaluate on (default: %(default)s)'
    )
    parser.add_argument(
        '--tasks',
        nargs='+',
        action='extend',
        metavar='TASK',
        help='evaluations (default: linear knn)',
    )
    parser.add_argument(
        '--card',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help='what is known about the pre-training: method, dataset, epochs, labels (true or '
        'false) and source; the rest is recorded as unknown',
    )
    parser.add_argument('--name', help='name of the row in the table (default: from the encoder)')
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        action='extend',
        metavar='SEED',
        help='seeds to run (default: 0)',
    )
    parser.add_argument(
        '--jobs', type=int, help='runs at the same time (default: one per GPU, or per core up to 4)'
    )
    parser.add_argument(
        '--work-dir', help='folder of the results (default: work_dirs/evaluate/<data>)'
    )
    parser.add_argument('--dry-run', action='store_true', help='print the runs; run nothing')
    return parser.parse_args()


if __name__ == '__main__':
    args = parse_args()
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mixae.engine.tool import run_tool
    from mixae.suite.evaluate import evaluate

    run_tool(lambda: sys.exit(evaluate(args)), 'the same command continues it')
