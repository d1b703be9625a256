"""Variants of the training step: compiled, and with a prediction of masked patches alone.

    python benchmarks/step_variants.py --threads 1 --json out.json

Variants take turns in random order in one process; a ratio is to the step as it is, taken within a
round, of the time on processors on a CPU: median [quartiles].
"""

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import torch  # noqa: E402
from mmpretrain.models import MAEPretrainHead  # noqa: E402
from pretrain_step import Bench, interleave, quiet, ratios, spread  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from mixae.engine.compiling import compile_loss  # noqa: E402
from mixae.models.layers.masking import draw_visible, masks_from_visible  # noqa: E402
from mixae.results.record import collect_environment, portable  # noqa: E402

# ViT-mini, as in the configs of digit scenes.
MINI = {
    'model.backbone.arch': 'mini',
    'model.neck.decoder_embed_dim': 64,
    'model.neck.decoder_depth': 2,
    'model.neck.decoder_num_heads': 2,
}
# Images, side, patch and width of the decoder.
DECODERS = {'ViT-B, 224 px': (16, 224, 16, 512), 'ViT-mini, 64 px': (128, 64, 8, 64)}


def compiled_steps(
    method: str, batch: int, device: str, options: dict = MINI, how: bool | dict = True
) -> dict[str, Callable[[], None]]:
    """The step of ViT-mini at 32 pixels in fp32, as it is and compiled."""
    bench = {
        name: Bench('vitt_32', 'fp32', batch, device, (method,), options=options)
        for name in ('plain', 'compiled')
    }
    compile_loss(next(iter(bench['compiled'].models.values())), how)
    return {name: one.steps[method] for name, one in bench.items()}


class Prediction(nn.Module):
    """What follows the decoder's layers: norm, prediction layer and loss, of given tokens.

    Legend: B images, L patches, N = L + 1 tokens, K masked patches an image, D width, P values.
    """

    def __init__(self, side: int, patch: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pred = nn.Linear(width, 3 * patch**2)
        loss = dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2')
        self.head = MAEPretrainHead(loss, norm_pix=True, patch_size=patch)

    def plain(self, x_BND: Tensor, images: Tensor, mask_BL: Tensor) -> Tensor:
        """As mmpretrain's decoder and head: every patch is predicted, and the loss masked."""
        return self.head.loss(self.pred(self.norm(x_BND))[:, 1:], images, mask_BL)

    def masked(self, x_BND: Tensor, images: Tensor, mask_BL: Tensor) -> Tensor:
        """Masked tokens and patches are gathered before they are normalised and predicted."""
        ids_BK = mask_BL.nonzero()[:, 1].reshape(len(mask_BL), -1)[:, :, None]
        x_BKD = x_BND.gather(1, (ids_BK + 1).expand(-1, -1, x_BND.shape[-1]))
        patches_BLP = self.head.patchify(images)
        target_BKP = patches_BLP.gather(1, ids_BK.expand(-1, -1, patches_BLP.shape[-1]))
        mean, var = (
            target_BKP.mean(dim=-1, keepdim=True),
            target_BKP.var(dim=-1, keepdim=True),
        )
        target_BKP = (target_BKP - mean) / (var + 1.0e-6) ** 0.5
        return (self.pred(self.norm(x_BKD)) - target_BKP).square().mean(dim=-1).mean()


def predictions(
    batch: int, side: int, patch: int, width: int, device: str
) -> dict[str, Callable[[], Tensor]]:
    """Forward and backward pass of both; each gives its loss."""
    torch.manual_seed(0)
    module = Prediction(side, patch, width).to(device)
    L = (side // patch) ** 2
    x_BND = torch.randn(batch, L + 1, width, device=device).requires_grad_()
    images = torch.randn(batch, 3, side, side, device=device)
    mask_BL = masks_from_visible(draw_visible(batch, L, 0.75, device), L)[0]

    def run(way: Callable) -> Tensor:
        loss = way(x_BND, images, mask_BL)
        torch.autograd.grad(loss, [x_BND, *module.parameters()])
        return loss.detach()

    return dict(plain=lambda: run(module.plain), masked=lambda: run(module.masked))


def measure(jobs: dict[str, Callable], rounds: int, device: str) -> dict:
    """Times, and the ratio of the second to the first."""
    synchronize = torch.cuda.synchronize if device == 'cuda' else (lambda: None)
    first, second = jobs
    begin = time.perf_counter()  # on the clock: compilers are other processes
    jobs[second]()
    synchronize()
    begin = time.perf_counter() - begin
    times = interleave(jobs, rounds, warmup=1, synchronize=synchronize)
    clock = 'wall' if device == 'cuda' else 'cpu'
    return dict(
        first_call=begin,
        times=copy.deepcopy(times),
        ratio=ratios(times, second, to=first, clock=clock),
        ms={name: 1000 * spread(times[name][clock])['median'] for name in jobs},
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--methods', nargs='*', default=['mae', 'mixedae', 'imae'])
    parser.add_argument('--batch', type=int, default=32, help='images per step (default: 32)')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--threads', type=int, help="(default: torch's)")
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--json', type=Path, help='write everything measured here')
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    quiet()
    jobs = {
        f'prediction of masked patches alone, {name}': lambda shape=shape: predictions(
            *shape, args.device
        )
        for name, shape in DECODERS.items()
    }
    for method in args.methods:
        jobs[f'compiled step, {method}'] = lambda method=method: compiled_steps(
            method, args.batch, args.device
        )
    print('| | ms, as it is | ms | ratio | first call, s |\n| --- | ---: | ---: | ---: | ---: |')
    results = {}
    for name, make in jobs.items():
        results[name] = one = measure(make(), args.rounds, args.device)
        first, second = one['ms'].values()
        ratio = '{median:.2f} [{q1:.2f}, {q3:.2f}]'.format(**one['ratio'])
        print(f'| {name} | {first:.1f} | {second:.1f} | {ratio} | {one["first_call"]:.0f} |')
        if args.json:
            command = ' '.join(['python', 'benchmarks/step_variants.py', *(argv or sys.argv[1:])])
            record = dict(command=portable(command), **collect_environment(), results=results)
            args.json.write_text(json.dumps(record, indent=1) + '\n')


if __name__ == '__main__':
    main()
