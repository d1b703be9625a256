#!/usr/bin/env python
"""Print how linearly separable an i-MAE's features are (Table 4 of the paper)."""

import argparse

from mmengine.config import Config, DictAction

from mixae.engine.launch import run_tool
from mixae.evaluation.separability import (
    NORMALIZERS,
    R2_AVERAGES,
    Protocol,
    format_table,
    table_4,
)


def main(argv: list[str] | None = None) -> None:
    defaults = Protocol()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('config', help="an i-MAE's pre-training config")
    parser.add_argument(
        'checkpoint', nargs='+', help='the i-MAE, or several of the same architecture and teacher'
    )
    parser.add_argument('--teacher', required=True, help='checkpoint of their teacher')
    parser.add_argument(
        '--data',
        required=True,
        help='config of a kNN or linear probe: its two splits, without augmentation',
    )
    parser.add_argument(
        '--without-distillation', help='checkpoint of an i-MAE trained without distillation'
    )
    parser.add_argument(
        '--baseline',
        help='checkpoint of a model without the disentanglement module (default: the teacher)',
    )
    parser.add_argument('--alpha', type=float, default=defaults.alpha, help='of the lasso')
    parser.add_argument(
        '--fit-part',
        type=float,
        default=defaults.fit_part,
        help='share of the training split that the lasso is fitted on',
    )
    parser.add_argument(
        '--subordinate',
        type=float,
        default=defaults.subordinate,
        help="the subordinate image's share, constant",
    )
    parser.add_argument('--beta', type=float, help='draw the weights from Beta(b, b) instead')
    parser.add_argument('--mask-ratio', type=float, default=defaults.mask_ratio)
    parser.add_argument(
        '--same-class-ratio', type=float, help='share of same-class pairs (default: by chance)'
    )
    parser.add_argument('--normalizer', choices=NORMALIZERS, default=defaults.normalizer)
    parser.add_argument('--r2-average', choices=R2_AVERAGES, default=defaults.r2_average)
    parser.add_argument('--seed', type=int, default=defaults.seed)
    parser.add_argument('--batch-size', type=int, default=256, help='images, 2 a mixture')
    parser.add_argument('--device', help='default: the GPU where there is one')
    parser.add_argument('--records', metavar='FOLDER', help='write a run record of each row here')
    parser.add_argument('--budget', metavar='TEXT', help='what was spent, for the records')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='overrides of the i-MAE config'
    )
    parser.add_argument(
        '--data-options', nargs='+', action=DictAction, help='overrides of the data config'
    )
    args = parser.parse_args(argv)
    names = Protocol.__dataclass_fields__
    protocol = Protocol(**{name: getattr(args, name) for name in names})
    config, data = Config.fromfile(args.config), Config.fromfile(args.data)
    config.merge_from_dict(args.cfg_options or {})
    data.merge_from_dict(args.data_options or {})
    results = table_4(
        config,
        args.checkpoint,
        args.teacher,
        data,
        protocol,
        without_distillation=args.without_distillation,
        baseline=args.baseline,
        folder=args.records,
        budget=args.budget or None,
        batch_size=args.batch_size,
        device=args.device,
    )
    print(format_table(results, protocol))


if __name__ == '__main__':
    run_tool(main)
