"""Plain attention, forward and backward: torch's, ours (`attend`), and products with a softmax.

    python benchmarks/attention.py --threads 1

Paths take turns in random order in one process; ratios are to torch's, taken within a round, of the
time on processors on a CPU: median [quartiles].
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from pretrain_step import interleave, ratios, spread  # noqa: E402
from torch import Tensor  # noqa: E402

from mixae.models.layers.attention import attend  # noqa: E402

# Samples, heads, tokens, width of a head.
SHAPES = [(8, 16, 197, 32), (64, 4, 65, 32), (16, 12, 50, 64)]


def products(q_MHNd: Tensor, k_MHNd: Tensor, v_MHNd: Tensor) -> Tensor:
    """The formula, with scores and softmax in fp32."""
    scores_MHNN = (q_MHNd.float() * q_MHNd.shape[-1] ** -0.5) @ k_MHNd.float().transpose(-2, -1)
    return scores_MHNN.softmax(dim=-1).to(v_MHNd.dtype) @ v_MHNd


PATHS = dict(torch=F.scaled_dot_product_attention, ours=attend, products=products)


def job(way: Callable, shape: tuple[int, ...], dtype: torch.dtype) -> Callable[[], None]:
    """One forward and backward pass on slices of one projection."""
    M, H, N, d = shape
    qkv = torch.randn(M, N, 3, H, d, dtype=dtype).permute(2, 0, 3, 1, 4)
    inputs = [x.requires_grad_() for x in qkv.unbind()]
    grad = torch.randn(M, N, H, d, dtype=dtype).transpose(1, 2)
    return lambda: torch.autograd.grad(way(*inputs), inputs, grad)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--threads', type=int, help="(default: torch's)")
    parser.add_argument('--rounds', type=int, default=7)
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    print('| M x H x N x d | type | path | CPU ms | to torch |\n| --- | --- | --- | ---: | ---: |')
    for shape in SHAPES:
        for dtype in (torch.bfloat16, torch.float32):
            jobs = {name: job(way, shape, dtype) for name, way in PATHS.items()}
            times = interleave(jobs, args.rounds, warmup=1)
            for name in jobs:
                ratio = ratios(times, name, to='torch', clock='cpu')
                cells = [' x '.join(map(str, shape)), str(dtype).removeprefix('torch.'), name]
                cells += [f'{spread(times[name]["cpu"])["median"] * 1e3:.1f}']
                cells += [f'{ratio["median"]:.2f} [{ratio["q1"]:.2f}, {ratio["q3"]:.2f}]']
                print(f'| {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
    main()
