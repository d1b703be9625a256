"""Step time and peak memory of dense transfer: ours beside what it replaces.

    python benchmarks/dense_step.py --compare windows backbone upernet --json out.json

``windows``: the encoder with windows of 14 patches and four global layers against global attention
in every layer, forward and backward at 1024 pixels. ``backbone``: our encoder against mmseg's own
MAE backbone at 512, forward and backward, with UperNet's four outputs. ``upernet``: the same two in
a training step of UperNet, whose neck and heads take the greater part.

Everything timed lives in one process and takes turns in random order, round after round, so that a
busy machine slows all alike; ratios are taken within a round, by the clock and by the time on
processors (which does not count waiting for a core; without meaning on a GPU). Peak memory is that
of a process of its own that takes one step, less what it held before the step. There large blocks
are returned to the system when they are freed, since what an allocator holds back depends on the
order of sizes (GPU: torch's peak of allocated memory, which does not count it either).
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import torch  # noqa: E402
from mmengine.registry import DefaultScope  # noqa: E402
from mmengine.structures import PixelData  # noqa: E402
from mmseg.registry import MODELS  # noqa: E402
from mmseg.structures import SegDataSample  # noqa: E402

import mixae  # noqa: E402, F401
from mixae.models import MaskedViT  # noqa: E402
from mixae.results.record import collect_environment, portable  # noqa: E402

# width, layers, heads, layers of the pyramid, global layers with windows
ARCHS = dict(
    ti=(192, 12, 3, (3, 5, 7, 11), (2, 5, 8, 11)),
    s=(384, 12, 6, (3, 5, 7, 11), (2, 5, 8, 11)),
    b=(768, 12, 12, (3, 5, 7, 11), (2, 5, 8, 11)),
    l=(1024, 24, 16, (7, 11, 15, 23), (5, 11, 17, 23)),
)
SIZES = dict(windows=1024, backbone=512, upernet=512)
VARIANTS = dict(
    windows=('global attention', 'windows of 14'),
    backbone=("mmseg's MAE", 'ours'),
    upernet=("mmseg's MAE", 'ours'),
)


def build_step(
    compare: str,
    variant: str,
    arch: str,
    size: int,
    batch: int,
    device: str = 'cpu',
    precision: str = 'fp32',
) -> Callable[[], None]:
    """One forward and backward pass.

    Args:
        compare (str): 'windows', 'backbone' or 'upernet'.
        variant (str): Of :data:`VARIANTS`; the first is what ours is compared with.
        arch (str): Of :data:`ARCHS`.
        size (int): Side of the images in pixels.
        batch (int): Images.
        device (str): Where. Defaults to 'cpu'.
        precision (str): 'fp32', or 'bf16' for autocast. Defaults to 'fp32'.

    Raises:
        ValueError: An unknown comparison or variant.
    """
    if variant not in VARIANTS.get(compare, ()):
        raise ValueError(f'{compare!r} has no variant {variant!r}; there are {VARIANTS}.')
    torch.manual_seed(0)
    images = torch.randn(batch, 3, size, size, device=device)
    build = dict(windows=_windows, backbone=_backbone, upernet=_upernet)[compare]
    model, loss = build(variant, arch, size, images)
    model.to(device).train()

    def step() -> None:
        bf16 = torch.autocast(torch.device(device).type, dtype=torch.bfloat16)
        with bf16 if precision == 'bf16' else nullcontext():
            value = loss()
        value.backward()
        model.zero_grad(set_to_none=False)
        if device != 'cpu':
            torch.cuda.synchronize()

    return step


def _windows(variant: str, arch: str, size: int, images: torch.Tensor):
    windows = dict(window_size=14, global_layers=ARCHS[arch][4])
    model = MaskedViT(
        arch,
        out_type='featmap',
        final_norm=False,
        train_pos_embed=True,
        **(windows if variant == 'windows of 14' else {}),
    )
    return model, lambda: model(images)[0].square().mean()


def _backbone_cfg(variant: str, arch: str, size: int) -> dict:
    width, depth, heads, layers, _ = ARCHS[arch]
    if variant == 'ours':
        return dict(
            type='mixae.MaskedViT',
            arch=arch,
            img_size=size,
            out_indices=list(layers),
            out_type='featmap',
            final_norm=False,
            train_pos_embed=True,
            drop_path_rate=0.1,
        )
    return dict(
        type='MAE',
        img_size=(size, size),
        embed_dims=width,
        num_layers=depth,
        num_heads=heads,
        mlp_ratio=4,
        init_values=1.0,
        out_indices=list(layers),
        drop_path_rate=0.1,
    )


def _backbone(variant: str, arch: str, size: int, images: torch.Tensor):
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(_backbone_cfg(variant, arch, size))
    return model, lambda: sum(features.square().mean() for features in model(images))


def _upernet(variant: str, arch: str, size: int, images: torch.Tensor):
    width = ARCHS[arch][0]
    head = dict(num_classes=150, norm_cfg=dict(type='BN'), dropout_ratio=0.1)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(
            dict(
                type='EncoderDecoder',
                data_preprocessor=dict(type='SegDataPreProcessor'),
                backbone=_backbone_cfg(variant, arch, size),
                neck=dict(type='Feature2Pyramid', embed_dim=width, norm_cfg=dict(type='BN')),
                decode_head=dict(
                    type='UPerHead',
                    in_channels=[width] * 4,
                    in_index=[0, 1, 2, 3],
                    channels=width,
                    **head,
                ),
                auxiliary_head=dict(
                    type='FCNHead',
                    in_channels=width,
                    in_index=2,
                    channels=256,
                    num_convs=1,
                    concat_input=False,
                    **head,
                ),
            )
        )
    labels = torch.randint(0, 150, (len(images), 1, size, size), device=images.device)
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(img_shape=(size, size)))
        for label in labels
    ]

    def loss() -> torch.Tensor:
        losses = model(images, samples, mode='loss')
        return sum(value for name, value in losses.items() if 'loss' in name)

    return model, loss


def peak_memory(compare: str, variant: str, args: argparse.Namespace) -> int:
    """Bytes that one step needs on top of the model, in a process of its own."""
    command = [sys.executable, __file__, '--measure-memory', compare, variant]
    command += ['--arch', args.arch, '--batch', str(args.batch), '--device', args.device]
    command += ['--threads', str(args.threads), '--precision', args.precision]
    command += ['--size', str(args.size)] if args.size else []
    env = {**os.environ, 'MALLOC_MMAP_THRESHOLD_': '1000000'}  # glibc
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return int(done.stdout.split()[-1])


def measure_memory(compare: str, variant: str, args: argparse.Namespace) -> int:
    """What :func:`peak_memory` runs in its process."""
    size = args.size or SIZES[compare]
    step = build_step(compare, variant, args.arch, size, args.batch, args.device, args.precision)
    if args.device != 'cpu':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    # The peak so far is set back; getrusage's cannot be, and starts at that of the parent process.
    Path('/proc/self/clear_refs').write_text('5')
    before = _status('VmRSS')
    step()
    return _status('VmHWM') - before


def _status(name: str) -> int:
    """An entry of the process's status, in bytes."""
    line = next(x for x in Path('/proc/self/status').read_text().splitlines() if x.startswith(name))
    return int(line.split()[1]) * 1024


def measure(compare: str, args: argparse.Namespace) -> dict:
    """Times and memory of both variants of a comparison."""
    size = args.size or SIZES[compare]
    steps = {
        variant: build_step(
            compare, variant, args.arch, size, args.batch, args.device, args.precision
        )
        for variant in VARIANTS[compare]
    }
    for step in steps.values():
        step()
    seconds = {variant: [] for variant in steps}
    cpu_seconds = {variant: [] for variant in steps}
    order = list(steps)
    for _ in range(args.rounds):
        random.shuffle(order)
        for variant in order:
            start, start_cpu = time.perf_counter(), time.process_time()
            steps[variant]()
            seconds[variant].append(time.perf_counter() - start)
            cpu_seconds[variant].append(time.process_time() - start_cpu)
    steps.clear()
    baseline = VARIANTS[compare][0]
    return dict(
        compare=compare,
        arch=args.arch,
        size=size,
        batch=args.batch,
        precision=args.precision,
        rounds=args.rounds,
        variants={
            variant: dict(
                seconds=seconds[variant],
                cpu_seconds=cpu_seconds[variant],
                ratio=_ratios(seconds[variant], seconds[baseline]),
                cpu_ratio=_ratios(cpu_seconds[variant], cpu_seconds[baseline]),
                peak_memory_bytes=peak_memory(compare, variant, args),
            )
            for variant in seconds
        },
    )


def _ratios(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Median, least and largest of the ratios within each round."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return dict(median=statistics.median(ratios), min=min(ratios), max=max(ratios))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--compare', nargs='+', choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument('--arch', choices=list(ARCHS), default='b')
    parser.add_argument('--size', type=int, help='pixels, in place of 1024 and 512')
    parser.add_argument('--batch', type=int, default=2, help='images; UperNet needs 2 or more')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--precision', choices=['fp32', 'bf16'], default='fp32')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--json', type=Path, help='write the measurements here')
    parser.add_argument('--measure-memory', nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.measure_memory:
        print(measure_memory(*args.measure_memory, args))
        return
    environment = collect_environment()
    device = f'{environment["device"]["name"]}, {args.threads} CPU threads, {args.precision}'
    print(f'# {device}; ratios: median (least..largest) of {args.rounds} rounds', flush=True)
    print('| comparison | variant | s a step | to the first | CPU s | to the first | peak, GB |')
    print('|---|---|---|---|---|---|---|')
    results = []
    for compare in args.compare:
        results.append(measure(compare, args))
        print_result(results[-1])
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        command = ' '.join(['python', 'benchmarks/dense_step.py', *sys.argv[1:]])
        content = dict(
            command=portable(command), **environment, threads=args.threads, results=results
        )
        args.json.write_text(json.dumps(content, indent=1) + '\n')


def print_result(result: dict) -> None:
    """A comparison as lines of the table."""
    for variant, found in result['variants'].items():
        wall, cpu = (
            '{median:.2f} ({min:.2f}..{max:.2f})'.format(**found[name])
            for name in ('ratio', 'cpu_ratio')
        )
        print(
            f'| {result["compare"]}, ViT-{result["arch"]}, {result["size"]} px, '
            f'{result["batch"]} images | {variant} '
            f'| {statistics.median(found["seconds"]):.3g} | {wall} '
            f'| {statistics.median(found["cpu_seconds"]):.3g} | {cpu} '
            f'| {found["peak_memory_bytes"] / 1e9:.2f} |',
            flush=True,
        )


if __name__ == '__main__':
    main()
