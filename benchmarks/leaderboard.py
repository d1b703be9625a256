"""Time and memory of every format of the leaderboard, with thousands of records.

    python benchmarks/leaderboard.py --records 5000 --seeds 5 --json out.json

The records are made up, with the config's text and the curves of a real one. Each format is
written by `tools/leaderboard.py` in a process of its own.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mixae.results import collect_environment, metric, new_record, write_record  # noqa: E402
from mixae.results.write import FORMATS  # noqa: E402

TASKS = ('finetune', 'linear', 'knn', 'detection', 'semseg')
METHODS = ('mae', 'mixedae', 'imae', 'ours', 'theirs')


def make_records(folder: Path, count: int, seeds: int) -> None:
    """Write `count` records: a row of the table for every 5 tasks of `seeds` seeds."""
    environment = dict(
        versions=dict(python='3.11.9', torch='2.10.0'),
        device=dict(name='CPU: one', count=1, cpu_threads=2),
        commit=dict(hash='c' * 40, dirty=False),
    )
    text = '\n'.join(path.read_text() for path in sorted((ROOT / 'configs/_base_').rglob('*.py')))
    for number in range(count):
        row, repeat = divmod(number, len(TASKS) * seeds)
        seed, task = divmod(repeat, len(TASKS))
        task = TASKS[task]
        value = 20 + (number * 7919 % 5000) / 100
        metrics = {'accuracy/top1': metric(value), 'accuracy/top5': metric(value + 20)}
        if task == 'semseg':
            metrics = {'mIoU': metric(value), 'aAcc': metric(value + 20)}
        if task == 'detection':
            metrics = {
                f'coco/{kind}_mAP{at}': metric(value / 100, 'fraction')
                for kind in ('bbox', 'segm')
                for at in ('', '_50', '_75')
            }
        curve = dict(
            x_label='epoch',
            y_label='TopK sampling accuracy',
            x=list(range(20)),
            lines={f'layer {layer}': [0.24 + 0.01 * x for x in range(20)] for layer in range(6)},
            reference=0.24,
            reference_label='chance',
        )
        method = METHODS[row % len(METHODS)]
        record = new_record(
            **environment,
            created=f'2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z',
            task=task,
            protocol=dict(name=f'{task}-100e', version='1'),
            method=method,
            variant=dict(mode='topk', ratio=round(0.001 * row, 3)),
            backbone=dict(arch='ViT-Ti', patch_size=4, img_size=32),
            dataset=dict(
                name='cifar10', description=None, split='test', n_train=50_000, n_test=10_000
            ),
            metrics=metrics,
            seed=seed,
            pretraining=dict(
                checkpoint='epoch_100.pth',
                sha256=f'{row * seeds + seed:064x}',
                config='configs/mae/vitt_cifar10_2000e.py',
                config_sha256=f'{row:064x}',
                dataset='cifar10',
                epochs=100,
                images_seen=100_000 * (1 + row % 10),
                seconds=400.0 + row,
                device='CPU: one',
                device_count=1,
                flops=1e14 * (1 + row % 10),
                labels_in_pretraining=False,
                teacher=None,
                seed=seed,
                commit='b' * 40,
            ),
            config=dict(
                path='configs/transfer/linear.py',
                sha256=f'{number:064x}',
                text=f'{text[:6000]}\nseed = {number}',
            ),
            cost=dict(seconds=12.5, images_seen=45_000),
            budget='100 epochs',
            **(dict(curves=dict(topk_accuracy=curve)) if method == 'mixedae' else {}),
        )
        write_record(record, folder / f'{row}_seed{seed}')


def measure(folder: Path, form: str) -> dict:
    """Seconds by the clock and on a processor, peak memory (MB) and size (MB) of one format."""
    out = folder.parent / f'table.{form}'
    command = [sys.executable, str(ROOT / 'tools/leaderboard.py'), str(folder)]
    command += ['--format', form, '--out', str(out)]
    if form == 'metafile':
        command += ['--method', 'mixedae']
    start = time.perf_counter()
    child = os.spawnvp(os.P_NOWAIT, command[0], command)
    _, status, used = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f'{" ".join(command)} failed with status {status}.')
    return dict(
        format=form,
        seconds=round(seconds, 2),
        cpu_seconds=round(used.ru_utime + used.ru_stime, 2),
        peak_mb=round(used.ru_maxrss / 1024),
        size_mb=round(out.stat().st_size / 1e6, 2),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--records', type=int, default=5000)
    parser.add_argument('--seeds', type=int, default=5, help='of every row')
    parser.add_argument('--formats', nargs='+', default=FORMATS, choices=FORMATS)
    parser.add_argument('--keep', metavar='FOLDER', help='leave records and tables there')
    parser.add_argument('--json', metavar='PATH', help='write the results there')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.keep or temporary) / 'records'
        if not folder.exists():
            make_records(folder, args.records, args.seeds)
        results = []
        for form in args.formats:
            results.append(measure(folder, form))
            print(json.dumps(results[-1]), flush=True)
    if args.json:
        about = dict(command=sys.argv, load=os.getloadavg()[0], **collect_environment())
        Path(args.json).write_text(json.dumps(dict(about, results=results), indent=1) + '\n')


if __name__ == '__main__':
    main()
