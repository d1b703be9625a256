"""Images a second and core of the training pipelines, beside what a training step needs.

    python benchmarks/loader.py --pipelines cifar10 --step 100 --json out.json

A pipeline is the data set of a real config, with its decoding and augmentation, run sample by
sample in this process on one core: that is what one worker delivers. --peers adds mmpretrain's and
timm's pipelines on the same files, in turns. README.md beside this file explains the columns.
"""

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault('OMP_NUM_THREADS', '1')  # as mmengine sets it in workers

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.hub import get_config  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from timm.data import ImageDataset, create_transform  # noqa: E402

import mixae  # noqa: E402, F401
from mixae.datasets.sampling import SampleIndex  # noqa: E402
from mixae.derive import derive  # noqa: E402
from mixae.errors import DataError  # noqa: E402
from mixae.registry import DATASETS  # noqa: E402
from mixae.results.record import collect_environment, portable  # noqa: E402

# Name: config, and the data set's folder and subfolder where a person may point elsewhere.
PIPELINES = {
    'cifar10': ('configs/mae/vitt_cifar10_2000e.py', 'data/cifar10', 'train'),
    'imagenet': ('configs/mae/vitb_300e.py', 'data/imagenet', 'train'),
    'digit_scenes': ('configs/mae/vitt_cifar10_2000e.py', None, None),
}
RATES = ('per_second', 'per_core_second')
# The setting of pretrain_step.py that a pipeline feeds.
STEPS = {'cifar10': 'vitt_32', 'imagenet': 'vitb_224'}


def build_dataset(pipeline: str, root: str | None = None, prefix: str | None = None):
    """The training data set of a pipeline's config.

    Args:
        pipeline (str): Of :data:`PIPELINES`.
        root (str, optional): Another folder of images in place of the config's: any JPEGs, in one
            subfolder a class or flat. It then stands in for the data set.
        prefix (str, optional): The subfolder of ``root`` to read.

    Raises:
        DataError: The folder does not exist.
        ValueError: An unknown pipeline, or ``root`` for digit scenes, which are generated.
    """
    cfg, _ = derive(build_config(pipeline, root, prefix), world_size=1, cuda=False)
    return DATASETS.build(cfg.train_dataloader.dataset)


def build_config(pipeline: str, root: str | None = None, prefix: str | None = None) -> Config:
    """The config whose training data :func:`build_dataset` gives."""
    if pipeline not in PIPELINES:
        raise ValueError(f'pipeline {pipeline!r} is unknown: choose from {", ".join(PIPELINES)}.')
    config, default_root, default_prefix = PIPELINES[pipeline]
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(ROOT / config)
    if pipeline == 'digit_scenes':
        if root is not None:
            raise ValueError('Digit scenes are generated: they have no other folder to read.')
        scenes = Config.fromfile(ROOT / 'configs/_base_/datasets/digit_scenes_pretrain.py')
        cfg.train_dataloader = scenes.train_dataloader
        cfg.model.backbone.update(img_size=64, patch_size=8)
        return cfg
    folder = Path(root) if root else ROOT / default_root
    prefix = prefix if root else default_prefix
    if not (folder / (prefix or '')).is_dir():
        raise DataError(
            f'{folder / (prefix or "")} is no folder: name one of images with --root (and '
            '--prefix), or leave this pipeline out with --pipelines.'
        )
    node = cfg.train_dataloader.dataset.dataset
    if root or node.type != 'mixae.ImageFolder':
        steps = node.pipeline
        nested = any(child.is_dir() for child in (folder / (prefix or '')).iterdir())
        cfg.train_dataloader.dataset.dataset = dict(
            type='mixae.ImageFolder', data_prefix=prefix or '', with_label=nested, pipeline=steps
        )
    cfg.train_dataloader.dataset.dataset['data_root'] = str(folder)
    return cfg


class Decoded:
    """The images of a data set decoded, and nothing else."""

    def __init__(self, dataset) -> None:
        inner = dataset.dataset
        self.paths = [inner.get_data_info(index)['img_path'] for index in range(len(dataset))]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return cv2.imdecode(np.fromfile(self.paths[index], np.uint8), cv2.IMREAD_COLOR)


def build_peers(dataset) -> dict:
    """mmpretrain's MAE pipeline as shipped and timm's, on the files of an 'imagenet' data set.

    Args:
        dataset (SeededDataset): Of :func:`build_dataset`.

    Returns:
        dict: A data set of each, by name; all crop as MAE does (area 0.2 to 1, bicubic, flips).
        'decoding alone' is OpenCV's, which ours and mmpretrain's share: the bound of both.
    """
    inner = dataset.dataset
    shipped = get_config('mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py')
    theirs = dict(
        type='CustomDataset',
        data_prefix=inner.data_prefix['img_path'],
        with_label=inner.with_label,
        pipeline=shipped.train_dataloader.dataset.pipeline,
    )
    transform = create_transform(
        224, is_training=True, scale=(0.2, 1.0), color_jitter=0.0, interpolation='bicubic',
        use_prefetcher=True,
    )  # fmt: skip
    return {
        'decoding alone': Decoded(dataset),
        'mmpretrain': DATASETS.build(theirs),
        'timm': ImageDataset(inner.data_prefix['img_path'], transform=transform),
    }


def take_turns(datasets: dict, images: int, rounds: int = 5) -> dict:
    """Measure data sets in turns, so that a machine that slows down slows all of them.

    Returns:
        dict: Of each, what :func:`measure` gives, with the medians over the rounds, and
        ``ratio``: the first one's CPU time for an image over its own, median over rounds.
    """
    rows = {name: [] for name in datasets}
    for seed in range(rounds):
        for name, dataset in datasets.items():
            rows[name].append(measure(dataset, -(-images // rounds), seed=seed))
    first = next(iter(rows.values()))
    for name, found in rows.items():
        ratios = [
            one['per_core_second'] / other['per_core_second']
            for one, other in zip(found, first, strict=True)
        ]
        row = {key: float(np.median([one[key] for one in found])) for key in RATES}
        row |= dict(images=sum(one['images'] for one in found), side=found[0]['side'])
        rows[name] = row | dict(ratio=float(np.median(ratios)), ratios=ratios)
    return rows


def measure(dataset, images: int, warmup: int = 16, seed: int = 0) -> dict:
    """Load ``images`` samples, drawn at random as in training, on one core.

    Returns:
        dict: ``images``; ``per_second`` (by the clock); ``per_core_second`` (by the time spent on
        the processor: what a worker with a core to itself delivers, also on a busy machine);
        ``side``, the median of the sources' longer and shorter side in pixels.
    """
    if images < 1:
        raise ValueError(f'images={images}: at least one must be loaded.')
    rng = np.random.default_rng(seed)
    cv2.setNumThreads(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    sides = []
    for epoch, count in enumerate((warmup, images)):
        order = rng.integers(0, len(dataset), count)
        wall, cpu = time.perf_counter(), time.process_time()
        for index in order:
            sample = dataset[SampleIndex(int(index), epoch=epoch)]
            if isinstance(sample, dict):
                sides.append(sample['data_samples'].ori_shape[:2])
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    torch.set_num_threads(threads)
    return dict(
        images=images,
        per_second=images / wall,
        per_core_second=images / cpu,
        side=[int(x) for x in np.median(np.sort(sides, axis=1)[:, ::-1], axis=0)]
        if sides
        else None,
    )


def measure_on_device(
    name: str, device: str, images: int, root: str | None, prefix: str | None, batch: int = 256
) -> dict:
    """Batches of a :class:`mixae.datasets.DeviceDataset` in place of the pipeline's data set.

    Returns:
        dict: ``images``; ``per_second``; ``core``, the share of one core that it takes.
    """
    cfg = build_config(name, root, prefix)
    cfg.train_dataloader.dataset.type = 'mixae.DeviceDataset'
    cfg, _ = derive(cfg, world_size=1, cuda=device != 'cpu')
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, device=device))
    rng = np.random.default_rng(0)
    for count in (batch, images):  # the first reads the images
        wall, cpu = time.perf_counter(), time.process_time()
        for step in range(-(-count // batch)):
            order = rng.integers(0, len(dataset), batch).tolist()
            dataset.__getitems__([SampleIndex(i, epoch=step) for i in order])
        cpu = time.process_time() - cpu
        if device != 'cpu':
            torch.cuda.synchronize()
        wall = time.perf_counter() - wall
    total = batch * -(-images // batch)
    return dict(images=total, per_second=total / wall, per_core_second=total / cpu, core=cpu / wall)


def workers_needed(step: float, per_core_second: float, margin: float = 1.2) -> int:
    """Workers that keep a step of ``step`` images a second fed, with a margin for uneven files.

    Raises:
        ValueError: Rates that are not positive.
    """
    if step <= 0 or per_core_second <= 0:
        raise ValueError(f'rates must be positive: step={step}, per_core_second={per_core_second}.')
    return math.ceil(step * margin / per_core_second)


def step_rate(step: str | None, pipeline: str) -> float | None:
    """Images a second of one training process: a number, or measured by pretrain_step.py.

    Args:
        step (str, optional): A number, or the file that ``pretrain_step.py --json`` wrote; of
            that, the fastest MAE step at the image size of the pipeline, in any precision.
        pipeline (str): Of :data:`PIPELINES`.

    Returns:
        float | None: None where no step was given, or the file holds none for this pipeline.

    Raises:
        ValueError: Neither a number nor such a file.
    """
    if step is None:
        return None
    try:
        return float(step)
    except ValueError:
        pass
    try:
        results = json.loads(Path(step).read_text())['results']
        rates = [
            result['methods']['mae']['images_per_second']
            for result in results
            if result['setting'] == STEPS.get(pipeline)
        ]
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f'--step {step}: neither a number of images a second nor a file that pretrain_step.py '
            f'--json wrote ({type(error).__name__}: {error}).'
        ) from None
    return max(rates, default=None)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--pipelines', nargs='+', choices=list(PIPELINES), default=list(PIPELINES))
    parser.add_argument('--root', help='another folder of images; with one pipeline only')
    parser.add_argument('--prefix', help='the subfolder of --root to read')
    parser.add_argument(
        '--peers', action='store_true', help="of ImageNet: mmpretrain's and timm's pipelines too"
    )
    parser.add_argument(
        '--device', help='of small images: mixae.DeviceDataset there too, such as cuda'
    )
    parser.add_argument('--images', type=int, default=1000, help='images to load')
    parser.add_argument(
        '--step',
        help='images/s of one training process, or the file that pretrain_step.py --json wrote; '
        'with it the workers that each process needs are printed',
    )
    parser.add_argument('--json', type=Path, help='write everything measured here')
    args = parser.parse_args(argv)
    if args.root and len(args.pipelines) > 1:
        parser.error('--root takes the place of one data set: name one with --pipelines.')

    environment = collect_environment()
    print(f'# {environment["device"]["name"]}, {os.cpu_count()} cores\n')
    head = ['pipeline', 'source images', 'images/s and core', 'by the clock']
    head += ['step needs images/s', 'num_workers a process'] if args.step else []
    print('| ' + ' | '.join(head) + ' |')
    print('| --- | ---' + ' | ---:' * (len(head) - 2) + ' |')
    results = {}
    for name in args.pipelines:
        step = step_rate(args.step, name)
        datasets = {name: build_dataset(name, args.root, args.prefix)}
        if args.peers and name == 'imagenet':
            datasets |= build_peers(datasets[name])
        rows = take_turns(datasets, args.images)
        row = rows.pop(name)
        source = 'digit scenes' if name == 'digit_scenes' else Path(args.root or name).name
        cells = [name, f'{source}, {row["side"][0]} x {row["side"][1]}']
        cells += [f'{row["per_core_second"]:.0f}', f'{row["per_second"]:.0f}']
        if step:
            row['step'] = step
            row['num_workers'] = workers_needed(step, row['per_core_second'])
            cells += [f'{step:.0f}', str(row['num_workers'])]
        elif args.step:
            cells += ['not measured', '']
        print('| ' + ' | '.join(cells) + ' |', flush=True)
        for peer, found in rows.items():
            print(
                f'| - {peer} | {found["ratio"]:.2f} of ours '
                f'| {found["per_core_second"]:.0f} | {found["per_second"]:.0f} |'
            )
        results[name] = dict(row, source=source, peers=rows)
        if args.device and name != 'imagenet':
            found = measure_on_device(name, args.device, 20 * args.images, args.root, args.prefix)
            print(
                f'| - on {args.device} | {found["core"]:.2f} of a core '
                f'| {found["per_core_second"]:.0f} | {found["per_second"]:.0f} |'
            )
            results[name]['on_device'] = dict(found, device=args.device)
    if args.json:
        command = portable(' '.join(['python', 'benchmarks/loader.py', *(argv or sys.argv[1:])]))
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(
            json.dumps(dict(command=command, **environment, results=results), indent=1) + '\n'
        )


if __name__ == '__main__':
    main()
