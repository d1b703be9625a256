#!/usr/bin/env python
"""Draw the pictures of the i-MAE paper: Figs. 1, 3, 4 and 5."""

import argparse
from pathlib import Path

import torch
from mmengine.config import Config, DictAction

from mixae.checkpoints.whole_models import as_mae, load_model
from mixae.derive.resolve import resolve
from mixae.engine.launch import run_tool
from mixae.visualization import imae_pictures as pictures


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        'figure',
        choices=('factors', 'comparison', 'mask-ratios', 'weights'),
        help='Figs. 1, 3, 4 and 5 in this order',
    )
    parser.add_argument('config', help="the i-MAE's pre-training config")
    parser.add_argument('checkpoint', help='the i-MAE')
    parser.add_argument('--data', required=True, help='config of a kNN or linear probe: images')
    parser.add_argument('--out', required=True, help='the picture to write (.png)')
    parser.add_argument('--teacher', help='the MAE, for comparison and weights')
    parser.add_argument('--without-distillation', help='an i-MAE without it, for comparison')
    parser.add_argument('--pairs', type=int, default=2, help='pairs of images')
    parser.add_argument('--seed', type=int, default=0, help='of pairs and masks')
    parser.add_argument(
        '--factor', type=float, help="the subordinate's share, but for factors (default: 0.3)"
    )
    parser.add_argument(
        '--mask-ratio', type=float, help="but for mask-ratios (default: the config's)"
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='overrides of the i-MAE config'
    )
    parser.add_argument(
        '--data-options', nargs='+', action=DictAction, help='overrides of the data config'
    )
    args = parser.parse_args(argv)
    if args.figure in ('comparison', 'weights') and not args.teacher:
        parser.error(f'{args.figure} compares with an MAE: name its checkpoint with --teacher')
    for figure, option in (('factors', 'factor'), ('mask-ratios', 'mask_ratio')):
        if args.figure == figure and getattr(args, option) is not None:
            parser.error(f'{figure} shows several: --{option.replace("_", "-")} has no use there')
    factor = 0.3 if args.factor is None else args.factor
    config, data = Config.fromfile(args.config), Config.fromfile(args.data)
    config.merge_from_dict(args.cfg_options or {})
    data.merge_from_dict(args.data_options or {})
    model_config = resolve(config)[0].model
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    inputs, preprocessor = pictures.load_pairs(data, args.pairs, args.seed, device)
    model = load_model(model_config, args.checkpoint).to(device)
    mask_ratio = model.backbone.mask_ratio if args.mask_ratio is None else args.mask_ratio
    if args.figure == 'factors':
        figure = pictures.factor_grid(
            model, preprocessor, inputs, mask_ratio=mask_ratio, seed=args.seed
        )
    elif args.figure == 'mask-ratios':
        figure = pictures.mask_ratio_grid(
            model, preprocessor, inputs, factor=factor, seed=args.seed
        )
    else:
        mae = load_model(as_mae(model_config), args.teacher).to(device)
        if args.figure == 'weights':
            encoders = {'MAE': mae.backbone, 'i-MAE': model.backbone}
            figure = pictures.weights_and_attention(encoders, preprocessor, inputs[0::2])
        else:
            rows = {'i-MAE': model}
            if args.without_distillation:
                other = load_model(model_config, args.without_distillation).to(device)
                rows = {'i-MAE,\nno distill.': other, **rows}
            figure = pictures.comparison_grid(
                mae, rows, preprocessor, inputs, factor, mask_ratio, args.seed
            )
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=130)
    print(f'{args.out} shows {args.figure}.')


if __name__ == '__main__':
    run_tool(main)
