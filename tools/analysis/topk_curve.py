#!/usr/bin/env python
"""Draw the TopK sampling accuracy of a MixedAE pre-training, per layer, and chance."""

import argparse
from pathlib import Path

from mixae.engine.tool import run_tool
from mixae.visualization.curves import plot_topk_accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'source', type=Path, help='work directory, topk_accuracy.jsonl or run record'
    )
    parser.add_argument(
        '--out', type=Path, default=Path('topk_accuracy.png'), help='picture to write (.png)'
    )
    parser.add_argument('--title', default='', help='title of the picture')
    args = parser.parse_args()
    print(plot_topk_accuracy(args.source, args.out, args.title))


if __name__ == '__main__':
    run_tool(main)
