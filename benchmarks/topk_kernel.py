"""Homologous attention on a GPU: the Triton kernel beside the plain paths and FlexAttention.

    python benchmarks/topk_kernel.py --json out.json

It prints what the arithmetic and the memory of an H100 allow at best (docs/speed.md has the
formulae), and measures where there is a GPU: one layer's attention without its projections,
forward and backward, all paths in turns in one process. Ratios are to the kernel, taken within a
round: median [quartiles].
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from pretrain_step import interleave, ratios, spread  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn.attention.flex_attention import flex_attention  # noqa: E402

from mixae.models.layers.homologous_attention import (  # noqa: E402
    dense_attention,
    kernel_for,
    logits,
    topk_mask,
)
from mixae.results.record import collect_environment, portable  # noqa: E402

# M mixed samples, H heads, G images in one, n tokens of an image, d width of a head; K = n.
SETTINGS = {
    'vitt_32': dict(M=256, H=3, G=4, n=17, d=64),  # 1024 images, patches of 4
    'vitb_224': dict(M=64, H=12, G=4, n=50, d=64),  # 256 images
    'vitl_224': dict(M=64, H=16, G=4, n=50, d=64),
    'vitb_320': dict(M=64, H=12, G=4, n=101, d=64),
}
# NVIDIA's data sheet of the H100 SXM: bytes a second, and operations a second of the tensor cores
# in bf16 and of the others in fp32; an integer operation is half of one of 33.5 T multiply-adds.
H100 = dict(memory=3.35e12, tensor=989e12, fp32=67e12, integer=16.7e12)


def parts(path: str, M: int, H: int, G: int, n: int, d: int) -> dict[str, dict[str, float]]:
    """What each kernel of a path reads and writes (bytes) and computes, in 16 bit, one layer.

    Args:
        path (str): 'mae', 'mask' or 'kernel', of :func:`paths`.
        M, H, G, n, d (int): See :data:`SETTINGS`.
    """
    N, K = G * n, n
    R = M * H * N  # rows: queries of all heads
    S, E = R * N, R * d  # scores, and elements of q
    if path == 'mae':
        return {
            'attention, forward': dict(memory=8 * E, tensor=4 * S / G * d),
            'attention, backward': dict(memory=16 * E, tensor=10 * S / G * d),
        }
    if path == 'mask':
        return {
            'q and k to fp32': dict(memory=12 * E),
            'scores': dict(memory=8 * E + 4 * S, fp32=2 * S * d),
            # 16 rounds of 2 bits over each row, from the cache after the first.
            'topk': dict(memory=4 * S + 12 * R * K, integer=16 * 4 * S),
            'least of them': dict(memory=4 * R * K + 4 * R),
            'mask': dict(memory=4 * S + 4 * R + S),
            'mask as a bias': dict(memory=S + 2 * S),
            'attention, forward': dict(memory=8 * E + 2 * S, tensor=4 * S * d),
            'attention, backward': dict(memory=16 * E + 2 * S, tensor=10 * S * d),
        }
    # As in mixae/models/layers/topk_kernel.py: a tile of queries against all keys, to a power of 2.
    tile, keys = (32 if N <= 256 else 16), max(16, 1 << (N - 1).bit_length())
    padded = M * H * -(-N // tile) * tile * keys
    # 14 halvings (of normal logits; at most 56), each a comparison, a choice and an addition for
    # every score; softmax and selection are some 10 operations more.
    select = dict(integer=14 * 3 * padded, fp32=2 * 10 * padded)
    again = dict(fp32=2 * 10 * S)
    return {
        'forward': dict(memory=8 * E + 8 * R, tensor=4 * padded * d, **select),
        'sums of the gradient': dict(memory=4 * E + 4 * R),
        'backward, q': dict(memory=10 * E + 12 * R, tensor=6 * S * d, **again),
        'backward, k and v': dict(memory=12 * E + 12 * R, tensor=8 * S * d, **again),
    }


def least(part: dict[str, float], device: dict[str, float] = H100) -> float:
    """Seconds a kernel takes at the device's full speed.

    Memory goes on beside arithmetic; the kinds of arithmetic wait for each other.
    """
    seconds = {kind: amount / device[kind] for kind, amount in part.items()}
    return max(seconds.pop('memory'), sum(seconds.values()))


def prediction(names: list[str]) -> str:
    """The bounds of an H100 as a table in Markdown."""
    rows = [
        ['one layer, bf16', 'path', 'GB', 'GFLOP', '10^9 integer', 'ms at least', 'to MAE'],
        ['---', '---', '---:', '---:', '---:', '---:', '---:'],
    ]
    for name in names:
        times = {}
        for path in ('mae', 'mask', 'kernel'):
            found = parts(path, **SETTINGS[name]).values()
            total = {k: sum(part.get(k, 0) for part in found) for k in H100}
            times[path] = sum(map(least, found))
            cells = [total['memory'], total['tensor'] + total['fp32'], total['integer']]
            cells = [f'{cell / 1e9:.3g}' for cell in cells]
            ratio = times[path] / times['mae']
            rows.append([name, path, *cells, f'{times[path] * 1e3:.3f}', f'{ratio:.1f}'])
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in rows)


def thresholds(q_MHNd: Tensor, k_MHNd: Tensor, topk: int) -> Tensor:
    """Between each query's K-th largest logit and the next, (M, H, N)."""
    largest = logits(q_MHNd.detach(), k_MHNd.detach()).topk(topk + 1, dim=-1).values
    return (largest[..., -1] + largest[..., -2]) / 2


def flex(q_MHNd: Tensor, k_MHNd: Tensor, v_MHNd: Tensor, threshold_MHN: Tensor) -> Tensor:
    """FlexAttention under thresholds that were found before."""

    def keep(score, sample, head, query, key):
        return torch.where(score > threshold_MHN[sample, head, query], score, -float('inf'))

    return flex_attention(q_MHNd, k_MHNd, v_MHNd, score_mod=keep)


def paths(G: int, topk: int, compiled: bool = True) -> dict[str, Callable]:
    """The ways to attend, each from q, k and v (M, H, N, d) to the output.

    ``mae`` is MAE's attention on the same tokens, ``global`` plain attention over the group;
    ``plain`` is step by step, ``mask`` torch's fused attention under the mask, ``flex``
    FlexAttention under thresholds, compiled.
    """
    run = torch.compile(flex) if compiled else flex

    def mae(*qkv: Tensor) -> Tensor:
        M, H, N, d = qkv[0].shape
        own = [x.unflatten(2, (G, -1)).transpose(1, 2).flatten(0, 1) for x in qkv]
        out = F.scaled_dot_product_attention(*own)
        return out.unflatten(0, (M, G)).transpose(1, 2).flatten(2, 3)

    def mask(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keep = topk_mask(logits(q.detach(), k.detach()), topk)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=keep)

    def kernel(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return kernel_for(q)(q, k, v, topk)

    return {
        'kernel': kernel,
        'mask': mask,
        'plain': lambda *qkv: dense_attention(*qkv, topk)[0],
        'flex': lambda q, k, v: run(q, k, v, thresholds(q, k, topk)),
        'global': F.scaled_dot_product_attention,
        'mae': mae,
    }


def measure(name: str, dtype: torch.dtype, device: str, rounds: int, repeat: int = 10) -> dict:
    """One setting's times; how far each path is from ``plain``, and its peak memory, beside them.

    Returns:
        dict: By path ``seconds``, ``to_kernel`` and ``to_mae`` (ratios within a round),
        ``largest_difference`` of the output, and ``peak_mb`` above what was there before.
    """
    M, H, G, n, d = (SETTINGS[name][key] for key in 'MHGnd')
    qkv = torch.randn(M, G * n, 3, H, d, device=device, dtype=dtype).permute(2, 0, 3, 1, 4)
    inputs = [x.requires_grad_() for x in qkv.unbind()]
    grad = torch.randn(M, G * n, H, d, device=device, dtype=dtype).transpose(1, 2)
    ways = paths(G, n)
    if kernel_for(inputs[0]) is None:
        raise SystemExit('error: the kernel cannot run here; the line above says why.')

    def job(way: Callable) -> Callable:
        def run() -> None:
            for _ in range(repeat):
                torch.autograd.grad(way(*inputs), inputs, grad)

        return run

    expected, peaks, differences = ways['plain'](*inputs).detach(), {}, {}
    for path, way in ways.items():
        differences[path] = (way(*inputs) - expected).abs().max().item()
        job(way)()  # whatever is compiled is compiled now
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        job(way)()
        peaks[path] = (torch.cuda.max_memory_allocated() - before) / 1e6
    jobs = {path: job(way) for path, way in ways.items()}
    times = interleave(jobs, rounds, warmup=2, synchronize=torch.cuda.synchronize)
    return {
        path: dict(
            seconds={k: v / repeat for k, v in spread(times[path]['wall']).items()},
            to_kernel=ratios(times, path, to='kernel'),
            to_mae=ratios(times, path, to='mae'),
            largest_difference=differences[path] if path not in ('global', 'mae') else None,
            peak_mb=peaks[path],
        )
        for path in ways
    }


def show(name: str, dtype: str, found: dict) -> str:
    """Measured times as a table in Markdown."""

    def ratio(value: dict) -> str:
        return f'{value["median"]:.2f} [{value["q1"]:.2f}, {value["q3"]:.2f}]'

    lines = [f'### {name}, {dtype}', '']
    lines += ['| path | ms | to the kernel | to MAE | peak MB | largest difference |']
    lines += ['| --- | ---: | ---: | ---: | ---: | ---: |']
    for path, row in found.items():
        cells = [path, f'{row["seconds"]["median"] * 1e3:.3f}', ratio(row['to_kernel'])]
        cells += [ratio(row['to_mae']), f'{row["peak_mb"]:.0f}']
        difference = row['largest_difference']
        cells += ['' if difference is None else f'{difference:.1e}']
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--settings', nargs='+', choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument('--dtype', nargs='+', choices=('bf16', 'fp16', 'fp32'), default=['bf16'])
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--json', help='file for the measured times')
    args = parser.parse_args(argv)
    print(f'An H100 (SXM) at full speed:\n\n{prediction(args.settings)}\n')
    if not torch.cuda.is_available():
        print('There is no GPU here: nothing was measured.')
        return
    kinds = dict(bf16=torch.bfloat16, fp16=torch.float16, fp32=torch.float32)
    results = []
    for name in args.settings:
        for dtype in args.dtype:
            found = measure(name, kinds[dtype], 'cuda', args.rounds)
            results.append(dict(setting=name, dtype=dtype, rounds=args.rounds, paths=found))
            print(f'{show(name, dtype, found)}\n', flush=True)
    if args.json:
        command = ' '.join(['python benchmarks/topk_kernel.py', *(argv or sys.argv[1:])])
        report = dict(command=command, **collect_environment(), results=results)
        Path(args.json).write_text(json.dumps(portable(report), indent=2) + '\n')


if __name__ == '__main__':
    main()
