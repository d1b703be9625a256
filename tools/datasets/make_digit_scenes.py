#!/usr/bin/env python
"""Make digit scenes ahead of their first use, check existing ones, or draw examples."""

import argparse

from mixae.datasets.digit_scenes import prepare
from mixae.datasets.digit_scenes.preview import save_contact_sheet
from mixae.engine.tool import run_tool
from mixae.files import check_output


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--data-root',
        help='folder of the data (default: $MIXAE_DIGIT_SCENES, or data/digit_scenes)',
    )
    parser.add_argument(
        '--part',
        choices=('classification', 'scenes', 'all'),
        default='all',
        help='part to make (default: all)',
    )
    parser.add_argument('--seed', type=int, help='seed of the pictures')
    parser.add_argument('--size', type=int, help='edge of a picture in pixels')
    parser.add_argument('--num-train', type=int, help='number of training pictures')
    parser.add_argument('--num-test', type=int, help='number of test pictures')
    parser.add_argument(
        '--digits', type=int, nargs=2, metavar=('LEAST', 'MOST'), help='digits per scene'
    )
    parser.add_argument(
        '--picture', metavar='FILE', help='picture of examples and labels to write (.png)'
    )
    parser.add_argument(
        '--split', choices=('train', 'test'), help='split that --picture shows (default: train)'
    )
    args = vars(parser.parse_args(argv))
    data_root, part = args.pop('data_root'), args.pop('part')
    picture, split = args.pop('picture'), args.pop('split')
    changes = {name: value for name, value in args.items() if value is not None}
    if picture and (changes or part != 'all'):
        parser.error('--picture shows both parts with their default options')
    if split and not picture:
        parser.error('--split is of --picture, which is not given')
    if picture:
        check_output(picture, ('.png',))
    for name in ('classification', 'scenes') if part == 'all' else (part,):
        print(f'{prepare(name, data_root, **changes)} is in order.')
    if picture:
        save_contact_sheet(picture, split=split or 'train', data_root=data_root)
        print(f'{picture} shows examples.')


if __name__ == '__main__':
    run_tool(main, 'the same command begins anew')
