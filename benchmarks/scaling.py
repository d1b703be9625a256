"""Hours of an ImageNet pre-training on N GPUs, from stated inputs, and what bounds them.

    python benchmarks/scaling.py --archs b l h --gpus 8 64

Arithmetic of a step is counted, as pretrain_step.py counts it with torch. What a GPU reaches of
its peak, what a core loads and what a network carries are inputs: give what you have measured.
docs/scaling.md explains the model and its assumptions.
"""

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

IMAGES = 1_281_167
# Width, depth, patch: of 16, in ViT-H of 14, as in MAE. The decoder is MAE's, 8 x 512.
ARCHS = {
    's': (384, 12, 16),
    'b': (768, 12, 16),
    'l': (1024, 24, 16),
    'h': (1280, 32, 14),
}
DECODER = (512, 8)
METHODS = ('mae', 'mixedae')


@dataclass(frozen=True)
class Machine:
    """What a prediction takes for granted, for each GPU unless it says otherwise.

    Attributes:
        peak_tflops (float): Dense bf16 peak. An H100 SXM has 989.
        mfu (float): Share of it that a step reaches.
        cores (float): Processor cores that load images.
        core_rate (float): Images/s that one of them loads (benchmarks/loader.py).
        gpus_per_node (int): GPUs that NVLink joins.
        node_gbps (float): GB/s of an all-reduce within a node, by each GPU.
        network_gbps (float): GB/s between nodes, by each GPU.
        overlap (float): Share of the backward pass that communication can hide behind.
    """

    peak_tflops: float = 989.0
    mfu: float = 0.35
    cores: float = 12.0
    core_rate: float = 204.0
    gpus_per_node: int = 8
    node_gbps: float = 200.0
    network_gbps: float = 25.0
    overlap: float = 0.8


def step_flops(arch: str, method: str = 'mae', image: int = 224, mask: float = 0.75) -> float:
    """Floating-point operations of a training step for each image: forward and backward."""
    width, depth, patch = ARCHS[arch]
    patches = (image // patch) ** 2
    pixels = 3 * patch**2
    visible = 1 + int(patches * (1 - mask))
    # MixedAE attends to the tokens of the group's four images.
    span = visible * (4 if method == 'mixedae' else 1)
    encoder = depth * _layer(width, visible, span)
    d, layers = DECODER
    decoder = layers * _layer(d, patches + 1, patches + 1)
    decoder += 2 * visible * width * d + 2 * (patches + 1) * d * pixels
    # Backward is two products for each forward, but none for the pixels.
    return 3 * (encoder + decoder) + 2 * (2 * patches * width * pixels)


def _layer(width: int, tokens: int, span: int) -> float:
    return 2 * tokens * 12 * width**2 + 4 * tokens * span * width


def parameters(arch: str) -> float:
    """Trainable parameters of MAE: encoder and decoder, without the small ones."""
    width, depth, patch = ARCHS[arch]
    pixels = 3 * patch**2
    d, layers = DECODER
    return 12 * (depth * width**2 + layers * d**2) + width * (pixels + d) + d * pixels


def predict(
    arch: str,
    gpus: int,
    machine: Machine,
    method: str = 'mae',
    epochs: int = 800,
    batch: int = 4096,
) -> dict:
    """A run's hours, and what bounds it.

    Returns:
        dict: ``hours``; seconds of a step: ``compute``, ``exposed`` communication, and ``loader``
        where that alone would take so long; ``images_per_second`` in all; ``bound``;
        ``state_gb``, bytes of weights, gradients and AdamW on each GPU, and with ZeRO.
    """
    if gpus < 1 or batch % gpus:
        raise ValueError(f'a batch of {batch} is not shared evenly by {gpus} GPUs.')
    mine = batch / gpus
    compute = mine * step_flops(arch, method) / (machine.peak_tflops * 1e12 * machine.mfu)
    size = 4 * parameters(arch)  # gradients in fp32, as DDP sends them
    local = min(gpus, machine.gpus_per_node)
    nodes = math.ceil(gpus / machine.gpus_per_node)
    # Reduced within a node, between nodes in shares, and spread within the node again.
    send = 2 * (local - 1) / local * size / (machine.node_gbps * 1e9)
    send += 2 * (nodes - 1) / nodes * size / local / (machine.network_gbps * 1e9)
    exposed = max(0.0, send - machine.overlap * compute * 2 / 3)
    loader = mine / (machine.cores * machine.core_rate)
    step = max(compute + exposed, loader)
    bound = 'loader' if loader > compute + exposed else 'arithmetic'
    if exposed > compute and bound != 'loader':
        bound = 'communication'
    steps = epochs * (IMAGES // batch)
    return dict(
        arch=arch,
        method=method,
        gpus=gpus,
        epochs=epochs,
        batch=batch,
        hours=steps * step / 3600,
        compute=compute,
        communication=send,
        exposed=exposed,
        loader=loader,
        images_per_second=batch / step,
        bound=bound,
        cores_needed=mine / (compute + exposed) / machine.core_rate,
        state_gb=16 * parameters(arch) / 1e9,
        state_zero_gb=(8 + 8 / gpus) * parameters(arch) / 1e9,
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--archs', nargs='+', choices=list(ARCHS), default=['b', 'l', 'h'])
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS))
    parser.add_argument('--gpus', nargs='+', type=int, default=[8, 64])
    parser.add_argument('--epochs', type=int, default=800)
    parser.add_argument('--batch', type=int, default=4096, help='images of a step, over all GPUs')
    for name, value in asdict(Machine()).items():
        kind = type(value)
        parser.add_argument(
            f'--{name.replace("_", "-")}', type=kind, default=value, help=f'default: {value}'
        )
    parser.add_argument('--json', type=Path, help='write inputs and predictions here')
    args = parser.parse_args(argv)
    machine = Machine(**{name: getattr(args, name) for name in asdict(Machine())})

    print('inputs: ' + ', '.join(f'{k} {v:g}' for k, v in asdict(machine).items()) + '\n')
    head = 'ViT, method, GPUs, hours, images/s, arithmetic ms, all-reduce ms (exposed), loader ms, '
    head += 'bound, cores per GPU needed, GB of state (ZeRO)'
    print('| ' + ' | '.join(head.split(', ')) + ' |')
    print('|' + ' --- |' * len(head.split(', ')))
    rows = []
    for arch in args.archs:
        for method in args.methods:
            for gpus in args.gpus:
                row = predict(arch, gpus, machine, method, args.epochs, args.batch)
                rows.append(row)
                print(
                    f'| {arch.upper()} | {method} | {gpus} | {row["hours"]:.1f} '
                    f'| {row["images_per_second"]:.0f} | {row["compute"] * 1e3:.0f} '
                    f'| {row["communication"] * 1e3:.1f} ({row["exposed"] * 1e3:.1f}) '
                    f'| {row["loader"] * 1e3:.0f} | {row["bound"]} | {row["cores_needed"]:.0f} '
                    f'| {row["state_gb"]:.1f} ({row["state_zero_gb"]:.1f}) |'
                )
    if args.json:
        args.json.write_text(json.dumps(dict(inputs=asdict(machine), rows=rows), indent=1) + '\n')


if __name__ == '__main__':
    main()
