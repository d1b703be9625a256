#!/usr/bin/env python
"""Compare features of encoders: nearest images, PCA and t-SNE, linear CKA, effective rank."""

import argparse
from pathlib import Path

from mixae.engine.launch import read_config
from mixae.engine.options import add_options_argument
from mixae.engine.tool import run_tool
from mixae.evaluation.analysis import build_loader, resolve
from mixae.evaluation.feature_geometry import check_labels, feature_geometry, format_table
from mixae.files import check_folder
from mixae.visualization.features import draw_cka, draw_embeddings, draw_neighbours
from mixae.visualization.grid import save_figure


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add('config', help='config of a kNN or linear probe, for the encoder and the test split')
    add('checkpoint', nargs='+', help="pre-training checkpoints, or 'scratch' for random weights")
    add(
        '--names',
        nargs='+',
        action='extend',
        default=[],
        help='names of the checkpoints in tables and pictures',
    )
    add('--records', metavar='FOLDER', help='folder to write run records to')
    add('--out', metavar='FOLDER', help='folder for neighbours.png, embedding.png and cka.png')
    add('--points', type=int, default=1000, help='images in the embedding')
    add('--seed', type=int, default=0, help='seed of random weights and of t-SNE')
    add('--budget', metavar='TEXT', help='the compute budget in words, for the records')
    add_options_argument(parser, '--cfg-options', 'the config')
    args = parser.parse_args(argv)
    if args.out:
        check_folder(args.out)
    config = read_config(args.config, args.cfg_options)
    checkpoints = check_labels(args.names, args.checkpoint)
    found = feature_geometry(
        config,
        checkpoints,
        points=args.points,
        seed=args.seed,
        folder=args.records,
        budget=args.budget,
    )
    print(format_table(found))
    if not args.out:
        return
    out = Path(args.out)
    data = build_loader(resolve(config).test_dataloader).dataset
    pictures = {
        label: [
            [data[int(i)]['inputs'].numpy()[::-1].transpose(1, 2, 0) for i in row] for row in rows
        ]
        for label, rows in found.neighbours.items()
    }
    count = len(next(iter(pictures.values()))[0]) - 1
    classes = data.metainfo.get('classes') or sorted(set(map(str, found.labels)))
    for name, figure in dict(
        neighbours=draw_neighbours(pictures, count, 'Nearest images'),
        embedding=draw_embeddings(found.points, found.labels, classes, args.seed),
        cka=draw_cka(found.names, found.cka),
    ).items():
        save_figure(figure, out / f'{name}.png', dpi=120)


if __name__ == '__main__':
    run_tool(main)
