#!/usr/bin/env python
"""Measure how complete objects are in an encoder's attention and features."""

import argparse

from mixae.engine.launch import read_config
from mixae.engine.options import add_options_argument
from mixae.engine.tool import run_tool
from mixae.evaluation.analysis import check_different
from mixae.evaluation.object_completeness import (
    describe,
    format_table,
    lost_box,
    object_completeness,
)
from mixae.files import check_output
from mixae.visualization.grid import ENDINGS, save_figure
from mixae.visualization.objects import draw_objects


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('config', help='config of configs/analysis, for the encoder and the images with masks')
    add('checkpoint', nargs='+', help="pre-training checkpoints, or 'scratch' for random weights")
    add('--records', metavar='FOLDER', help='folder to write run records to')
    add('--out', metavar='PATH', help='picture to write: a few images, by the last checkpoint')
    add('--seed', type=int, default=0, help='seed of random weights (default: 0)')
    add('--budget', metavar='TEXT', help='the compute budget in words, for the records')
    add_options_argument(parser, '--cfg-options', 'the config')
    args = parser.parse_args(argv)
    if args.out:
        check_output(args.out, ENDINGS)
    check_different(args.checkpoint)
    config = read_config(args.config, args.cfg_options)
    rows = {}
    for checkpoint in args.checkpoint:
        rows[checkpoint], shown = object_completeness(
            config,
            checkpoint,
            seed=args.seed,
            folder=args.records,
            budget=args.budget,
        )
    print(format_table(rows), f'{describe()}.', sep='\n\n')
    if args.out:
        save_figure(_picture(shown[:6], args.checkpoint[-1]), args.out, dpi=120)


def _picture(shown: list, title: str):
    pictures, outlines, maps, boxes = [], [], [], []
    for scene, view, index in shown:
        attention_HL = view.attention_BHL[index].cpu()
        patch = scene.image.shape[1] // view.grid[0]
        heads = {f'head {i}': a.reshape(view.grid).numpy() for i, a in enumerate(attention_HL)}
        mean = attention_HL.mean(dim=0).reshape(view.grid).numpy()
        pictures.append(scene.image.numpy()[::-1].transpose(1, 2, 0))
        outlines.append(scene.masks.any(dim=0).numpy())
        maps.append({'mean of heads': mean, **dict(list(heads.items())[:6])})
        boxes.append(lost_box(view.keys_BLD[index], view.grid) * patch)
    return draw_objects(pictures, outlines, maps, boxes, f'{title}: attention and the box of LOST')


if __name__ == '__main__':
    run_tool(main)
