"""The pre-training step of MAE, MixedAE and i-MAE, side by side at equal images per step.

    python benchmarks/pretrain_step.py --settings vitt_32 --precision bf16 --json out.json

Everything timed lives in one process and takes turns in random order, round after round, so that
a busy machine slows all of them alike; ratios are taken within a round. README.md beside this
file explains the columns.
"""

import argparse
import gc
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# Threads that wait must sleep: spinning ones are counted as work, and starve their neighbours.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from mmengine.optim import build_optim_wrapper  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import mixae  # noqa: E402, F401
from mixae.derive import derive  # noqa: E402
from mixae.models.layers.attention import use_attend  # noqa: E402
from mixae.models.layers.homologous_attention import (  # noqa: E402
    HomologousAttention,
    kth_largest,
    logits,
)
from mixae.registry import MODELS  # noqa: E402
from mixae.results.record import collect_environment, portable  # noqa: E402

SETTINGS = {
    'vitb_224': dict(
        mae='mae/vitb_300e.py', mixedae='mixedae/vitb_300e.py', imae='imae/vitb_800e.py'
    ),
    'vitt_32': dict(
        mae='mae/vitt_cifar10_2000e.py',
        mixedae='mixedae/vitt_cifar10_2000e.py',
        imae='imae/vitt_cifar10_2000e.py',
    ),
}
BATCH = dict(cpu=dict(vitb_224=8, vitt_32=128), cuda=dict(vitb_224=256, vitt_32=1024))

# MixedAE's variants are one model whose attention and contrastive loss are switched between steps.
MIXEDAE = {
    'mixedae': dict(mode='topk', contrast=True),
    'mixedae-topk': dict(mode='topk', contrast=False),
    'mixedae-global': dict(mode='global', contrast=False),
    'mixedae-global-contrast': dict(mode='global', contrast=True),
    'mixedae-masked': dict(mode='masked', contrast=False),
    'mixedae-masked-contrast': dict(mode='masked', contrast=True),
    'mixedae-plain': dict(mode='topk', contrast=True, fused=False),
}
METHODS = ('mae', *MIXEDAE, 'imae')
LABELS = {
    'mae': 'MAE',
    'mixedae': 'MixedAE: topk + contrast (default)',
    'mixedae-topk': 'MixedAE: topk',
    'mixedae-global': 'MixedAE: global',
    'mixedae-global-contrast': 'MixedAE: global + contrast',
    'mixedae-masked': 'MixedAE: masked',
    'mixedae-masked-contrast': 'MixedAE: masked + contrast',
    'mixedae-plain': 'MixedAE: topk + contrast, fused=False',
    'imae': 'i-MAE',
}


def family(method: str) -> str:
    """The folder of configs that a method comes from."""
    if method not in METHODS:
        raise ValueError(f'method {method!r} is unknown: choose from {", ".join(METHODS)}.')
    return 'mixedae' if method in MIXEDAE else method


def load_config(
    setting: str, method: str, precision: str, batch: int, options: dict | None = None
) -> Config:
    """The real config of a method, resolved for one process of ``batch`` images per step.

    Args:
        setting (str): Of :data:`SETTINGS`.
        method (str): Of :data:`METHODS`.
        precision (str): 'bf16' (the config's own wrapper) or 'fp32' (mmengine's plain one).
        batch (int): Images a step; both images of an i-MAE pair count.
        options (dict, optional): Further overrides, dotted keys as in ``--cfg-options``.
    """
    if setting not in SETTINGS:
        raise ValueError(f'setting {setting!r} is unknown: choose from {", ".join(SETTINGS)}.')
    if precision not in ('bf16', 'fp32'):
        raise ValueError(f"precision {precision!r} is unknown: choose 'bf16' or 'fp32'.")
    cfg = Config.fromfile(ROOT / 'configs' / SETTINGS[setting][family(method)])
    cfg.merge_from_dict({'train_dataloader.batch_size': batch, **(options or {})})
    if precision == 'fp32':
        cfg.optim_wrapper.type = 'OptimWrapper'
    return derive(cfg, world_size=1, cuda=torch.cuda.is_available())[0]


def build(cfg: Config, device: str) -> tuple[nn.Module, object]:
    """The config's model, initialised and in training mode, and its optimiser wrapper."""
    model = MODELS.build(cfg.model)
    model.init_weights()
    use_attend(model)
    model.to(device).train()
    return model, build_wrapper(model, cfg.optim_wrapper)


def build_wrapper(model: nn.Module, cfg: dict):
    """The optimiser; in bf16 where that was asked for, also on a CPU that is slow in it."""
    wrapper = build_optim_wrapper(model, cfg)
    wrapper.enabled = True
    return wrapper


class Bench:
    """The models of one setting and precision, and what can be timed on them.

    Attributes:
        steps (dict[str, Callable]): One full training step of each method: data preprocessor,
            forward, backward, AdamW.
        parts (dict[str, Callable]): Pieces of those steps, see :meth:`_parts`.
    """

    def __init__(
        self,
        setting: str,
        precision: str,
        batch: int,
        device: str = 'cpu',
        methods: tuple[str, ...] = METHODS,
        parts: bool = False,
        options: dict | None = None,
    ) -> None:
        init_default_scope('mmpretrain')
        self.setting, self.precision, self.batch, self.device = setting, precision, batch, device
        self.models: dict[str, nn.Module] = {}
        self.wrappers: dict = {}
        for name in dict.fromkeys(map(family, (*methods, *(['mae', 'mixedae'] if parts else [])))):
            own = dict(options or {})
            with tempfile.TemporaryDirectory() as folder:
                if name == 'imae':
                    own['model.teacher.checkpoint'] = self._teacher(folder, options)
                cfg = load_config(setting, name, precision, batch, own)
                self.models[name], self.wrappers[name] = build(cfg, device)
        size = next(iter(self.models.values())).backbone.img_size
        size = size if isinstance(size, tuple | list) else (size, size)
        images = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8, device=device)
        self.data = dict(inputs=images, data_samples=None)
        self.steps = {method: partial(self.step, method) for method in methods}
        self.parts = self._parts() if parts else {}

    def _teacher(self, folder: str, options: dict | None) -> str:
        """A checkpoint of an MAE that was never trained: a step takes as long under any weights."""
        mae = self.models.get('mae')
        if mae is None:
            cfg = load_config(self.setting, 'mae', self.precision, self.batch, options)
            mae = MODELS.build(cfg.model)
        path = f'{folder}/teacher.pth'
        state = {f'backbone.{k}': v.cpu() for k, v in mae.backbone.state_dict().items()}
        torch.save(dict(state_dict=state), path)
        return path

    def step(self, method: str, data: dict | None = None) -> None:
        model = self.models[family(method)]
        if method in MIXEDAE:
            contrast = model.contrast
            self._switch(model, contrast, **MIXEDAE[method])
        model.train_step(data or self.data, self.wrappers[family(method)])
        if method in MIXEDAE:
            self._switch(model, contrast)

    @staticmethod
    def _switch(model, loss, mode: str = 'topk', contrast: bool = True, fused: bool = True) -> None:
        model.attention.mode = mode
        model.attention.fused = fused
        model.contrast = loss if contrast else None

    def autocast(self):
        if self.precision == 'fp32':
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16)

    def _parts(self) -> dict[str, Callable]:
        """Pieces of the steps, forward and backward unless said otherwise.

        On the MAE model: ``encoder`` (all images), ``encoder-half`` (half of them), ``teacher``
        (all, forward only, no autograd), ``decoder`` (all), ``optimizer`` (AdamW alone). One
        layer's attention on the tokens of all images: ``attention-mae``, ``attention-global``,
        ``attention-topk``, ``attention-plain`` (topk, fused=False); ``select`` is what finds the
        K-th logits, once. ``contrast`` is the homologous contrastive loss.
        """
        mae, mixed = self.models['mae'], self.models['mixedae']
        B, L, D = self.batch, mae.backbone.num_patches, mae.backbone.embed_dims
        G, n = mixed.groups, mixed.backbone.num_patches // mixed.groups + 1
        images = mae.data_preprocessor(self.data, True)['inputs']
        attn = mae.backbone.layers[1].attn
        x_BnD = torch.randn(B, n, D, device=self.device)
        x_MND = x_BnD.reshape(B // G, G * n, D)
        ids_restore_BL = torch.rand(B, L, device=self.device).argsort(dim=1)
        with torch.no_grad():
            M, N, H = B // G, G * n, attn.num_heads
            qkv = attn.qkv(x_MND).reshape(M, N, 3, H, D // H).permute(2, 0, 3, 1, 4)
            logits_MHNN = logits(qkv[0], qkv[1])

        def train(module: nn.Module, function: Callable, *inputs) -> None:
            inputs = [x.detach().requires_grad_() if x.ndim == 3 else x for x in inputs]
            with self.autocast():
                out = function(*inputs)
            out.backward(torch.ones_like(out))
            module.zero_grad(set_to_none=True)

        def encode(count: int) -> None:
            train(mae, lambda x: mae.backbone(x, True)[0], images[:count])

        def teach() -> None:
            with torch.no_grad(), self.autocast():
                mae.backbone(images, True)

        def attend(mode: str, fused: bool = True) -> None:
            attention = HomologousAttention(G, mode=mode, fused=fused)
            train(attn, lambda x: attention(attn, x, 1), x_MND)

        def optimize() -> None:
            for parameter in mae.parameters():
                if parameter.requires_grad:
                    parameter.grad = parameter.detach()
            self.wrappers['mae'].step()
            self.wrappers['mae'].zero_grad()

        patches_MLD = x_BnD[:, 1:].reshape(B // G, L, D)
        parts = {
            'encoder': partial(encode, B),
            'encoder-half': partial(encode, B // 2),
            'teacher': teach,
            'decoder': lambda: train(mae, lambda x: mae.neck(x, ids_restore_BL), x_BnD),
            'optimizer': optimize,
            'attention-mae': lambda: train(attn, attn, x_BnD),
            'attention-global': lambda: attend('global'),
            'attention-topk': lambda: attend('topk'),
            'attention-plain': lambda: attend('topk', fused=False),
            'select': lambda: kth_largest(logits_MHNN, n),
        }
        if mixed.contrast is not None:
            contrast = mixed.contrast
            parts['contrast'] = lambda: train(contrast, lambda x: contrast(x, G), patches_MLD)
        return parts

    def flops(self) -> dict[str, float]:
        """Floating-point operations of matrix products, of one step of each method, an image."""
        counts = {}
        groups = getattr(self.models.get('mixedae'), 'groups', 2)
        few = dict(self.data, inputs=self.data['inputs'][: 2 * groups])
        for method in self.steps:
            # The math kernel spells attention out in products that the counter knows.
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                self.step(method, few)
            counts[method] = counter.get_total_flops() / len(few['inputs'])
        return counts

    def synchronize(self) -> None:
        if self.device != 'cpu':
            torch.cuda.synchronize()


def interleave(
    jobs: dict[str, Callable],
    rounds: int,
    warmup: int = 1,
    synchronize: Callable = lambda: None,
    seed: int = 0,
    progress: Callable = lambda text: None,
) -> dict[str, dict[str, list[float]]]:
    """Time jobs in turns, in random order within each round.

    Returns:
        dict: For each job ``wall`` and ``cpu``, a value for each round in seconds; ``cpu`` is the
        time that this process spent on processors, all threads together.
    """
    if rounds < 1:
        raise ValueError(f'rounds={rounds}: at least one round must be timed.')
    shuffle = random.Random(seed).shuffle
    times = {name: dict(wall=[], cpu=[]) for name in jobs}
    gc.disable()
    for i in range(warmup + rounds):
        gc.collect()
        order = list(jobs)
        shuffle(order)
        for name in order:
            progress(f'round {i + 1} of {warmup + rounds}: {name}')
            synchronize()
            wall, cpu = time.perf_counter(), time.process_time()
            jobs[name]()
            synchronize()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            if i >= warmup:
                times[name]['wall'].append(wall)
                times[name]['cpu'].append(cpu)
    gc.enable()
    progress('')
    return times


def spread(values) -> dict[str, float]:
    """Median and quartiles."""
    q1, median, q3 = np.quantile(np.asarray(values, dtype=float), (0.25, 0.5, 0.75))
    return dict(median=float(median), q1=float(q1), q3=float(q3))


def ratios(times: dict, name: str, to: str = 'mae', clock: str = 'wall') -> dict[str, float]:
    """Median and quartiles of the ratios within each round."""
    return spread(np.divide(times[name][clock], times[to][clock]))


def show(ratio: dict[str, float]) -> str:
    """A spread as text."""
    return f'{ratio["median"]:.3f} [{ratio["q1"]:.3f}, {ratio["q3"]:.3f}]'


def predict_imae(times: dict, clock: str = 'wall') -> np.ndarray:
    """What i-MAE's step should take by the arithmetic, for each round, in seconds.

    At equal images: the student's encoder on half as many mixtures, two decoder passes over them
    (as many sequences as MAE's one), two forward-only teacher passes over them (as many as one
    over all images), AdamW, and what MAE's step takes beside encoder, decoder and AdamW.
    """
    part = {name: np.asarray(value[clock]) for name, value in times.items()}
    rest = part['mae'] - part['encoder'] - part['decoder'] - part['optimizer']
    return part['encoder-half'] + part['decoder'] + part['teacher'] + part['optimizer'] + rest


def peak_memory(
    setting: str, precision: str, batch: int, device: str, method: str, options: dict | None = None
) -> dict[str, float]:
    """Peak memory of two steps of one method in a process of its own, in MB (10^6 bytes).

    Returns:
        dict: ``peak``: on CUDA ``torch.cuda.max_memory_allocated``; on CPU the process's largest
        resident set (VmHWM) less its resident set before the model was built.
    """
    job = dict(setting=setting, precision=precision, batch=batch, device=device, options=options)
    code = (
        'import json, sys; sys.path.insert(0, sys.argv[1]); import pretrain_step as p; '
        'print("PEAK", p._peak_here(sys.argv[3], json.loads(sys.argv[2])))'
    )
    command = [sys.executable, '-c', code, str(Path(__file__).parent), json.dumps(job), method]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith('PEAK ')]
    if done.returncode or not lines:
        raise RuntimeError(f'Measuring the memory of {method} failed:\n{done.stderr[-2000:]}')
    return dict(peak=float(lines[-1].split()[1]))


def _peak_here(method: str, job: dict) -> float:
    quiet()
    cuda = job['device'] != 'cpu'
    before = _resident()
    bench = Bench(methods=(method,), **job)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(2):  # the second step has the optimiser's state too
        bench.steps[method]()
    bench.synchronize()
    if cuda:
        return torch.cuda.max_memory_allocated() / 1e6
    return (_resident('VmHWM') - before) / 1e6


def _resident(field: str = 'VmRSS') -> int:
    """Bytes of this process in memory now, or with 'VmHWM' at most so far (Linux).

    Not ``ru_maxrss``: that of a new process starts at its parent's.
    """
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(field + ':'):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f'/proc/self/status has no {field}: memory on a CPU is measured on Linux.')


def quiet() -> None:
    """Building a model logs every parameter's initialisation; nobody asked."""
    MMLogger.get_instance('mmengine', logger_name='mmengine', log_level='ERROR')
    logging.getLogger('mmengine').setLevel(logging.ERROR)


def measure(
    setting: str,
    precision: str,
    batch: int,
    device: str = 'cpu',
    methods: tuple[str, ...] = METHODS,
    rounds: int = 7,
    warmup: int = 2,
    parts: bool = False,
    memory: bool = False,
    peak_tflops: float | None = None,
    options: dict | None = None,
    progress: Callable = lambda text: None,
) -> dict:
    """Measure one setting in one precision; the result is plain JSON.

    Returns:
        dict: The arguments; ``methods`` (each with ``seconds``, ``images_per_second``,
        ``ratio_wall``, ``ratio_cpu``, ``gflops_per_image``, and where asked for ``mfu`` and
        ``peak_mb``); ``parts`` in seconds; ``imae_over_prediction``; ``times`` of every round.
    """
    if 'mae' not in methods:
        raise ValueError(f'methods={methods}: ratios are to MAE, so it must be among them.')
    progress('building the models')
    bench = Bench(setting, precision, batch, device, methods, parts, options)
    flops = bench.flops()
    jobs = {**bench.steps, **bench.parts}
    times = interleave(jobs, rounds, warmup, bench.synchronize, progress=progress)
    result = dict(
        setting=setting,
        configs={m: f'configs/{SETTINGS[setting][family(m)]}' for m in methods},
        precision=precision,
        batch=batch,
        rounds=rounds,
        warmup=warmup,
        options=options,
        peak_tflops=peak_tflops,
        methods={},
    )
    for method in methods:
        seconds = spread(times[method]['wall'])
        row = dict(
            seconds=seconds,
            cpu_seconds=spread(times[method]['cpu']),
            images_per_second=batch / seconds['median'],
            ratio_wall=ratios(times, method),
            ratio_cpu=ratios(times, method, clock='cpu'),
            gflops_per_image=flops[method] / 1e9,
        )
        if peak_tflops:
            row['mfu'] = flops[method] * row['images_per_second'] / (peak_tflops * 1e12)
        result['methods'][method] = row
    if parts:
        result['parts'] = {
            name: {clock: spread(times[name][clock]) for clock in ('wall', 'cpu')}
            for name in bench.parts
        }
        if 'imae' in methods:
            result['imae_over_prediction'] = {
                clock: spread(np.divide(times['imae'][clock], predict_imae(times, clock)))
                for clock in ('wall', 'cpu')
            }
    result['times'] = times
    del bench, jobs
    gc.collect()
    if memory:
        for method in methods:
            progress(f'memory of {method}, in a process of its own')
            row = peak_memory(setting, precision, batch, device, method, options)
            result['methods'][method]['peak_mb'] = row['peak']
        progress('')
    return result


def table(result: dict, device: str) -> str:
    """A result as Markdown."""
    cuda = device != 'cpu'
    head = ['method', 'ms a step', 'images/s', 'to MAE (wall)']
    head += [] if cuda else ['to MAE (CPU time)']
    head += ['GFLOP an image', 'to MAE']
    head += ['MFU'] if result['peak_tflops'] else []
    memory = 'peak_mb' in result['methods']['mae']
    head += ['peak MB', 'to MAE'] if memory else []
    rows = [head, ['---'] + ['---:'] * (len(head) - 1)]
    mae = result['methods']['mae']

    for method, row in result['methods'].items():
        cells = [LABELS[method], f'{row["seconds"]["median"] * 1e3:.1f}']
        cells += [f'{row["images_per_second"]:.1f}', show(row['ratio_wall'])]
        cells += [] if cuda else [show(row['ratio_cpu'])]
        cells += [f'{row["gflops_per_image"]:.2f}']
        cells += [f'{row["gflops_per_image"] / mae["gflops_per_image"]:.3f}']
        cells += [f'{row["mfu"]:.1%}'] if result['peak_tflops'] else []
        if memory:
            cells += [f'{row["peak_mb"]:.0f}', f'{row["peak_mb"] / mae["peak_mb"]:.3f}']
        rows.append(cells)
    title = f'### {result["setting"]}, {result["precision"]}, {result["batch"]} images per step, '
    title += f'{result["rounds"]} rounds: median [quartiles]'
    lines = [title, '', *('| ' + ' | '.join(cells) + ' |' for cells in rows)]
    if 'parts' in result:
        lines += ['', '| part of a step | ms (wall) | ms (CPU time) |', '| --- | ---: | ---: |']
        lines += [
            f'| {name} | {part["wall"]["median"] * 1e3:.2f} | {part["cpu"]["median"] * 1e3:.2f} |'
            for name, part in result['parts'].items()
        ]
    if 'imae_over_prediction' in result:
        over = result['imae_over_prediction']
        lines += ['', f'i-MAE over its prediction: {show(over["wall"])} (wall)']
        lines[-1] += '' if cuda else f', {show(over["cpu"])} (CPU time)'
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--settings', nargs='+', choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS))
    parser.add_argument(
        '--precision',
        nargs='+',
        choices=('fp32', 'bf16'),
        help='default: both on a CPU, bf16 on a GPU',
    )
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--batch', type=int, help='images per step; default: one for each setting')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--warmup', type=int, default=2, help='rounds that are thrown away')
    parser.add_argument('--parts', action='store_true', help='time the parts of the steps too')
    parser.add_argument('--memory', action='store_true', help='peak memory, one process per method')
    parser.add_argument('--threads', type=int, help='CPU threads; default: as torch finds them')
    parser.add_argument('--peak-tflops', type=float, help='of the GPU in bf16, for the MFU column')
    parser.add_argument('--json', type=Path, help='write everything measured here')
    args = parser.parse_args(argv)

    if args.threads:
        torch.set_num_threads(args.threads)
        os.environ['OMP_NUM_THREADS'] = str(args.threads)  # for the processes of --memory
    quiet()
    device = torch.device(args.device).type
    if device == 'cpu':  # the CPU is asked for: nothing in this process may pick the GPU
        torch.cuda.is_available = lambda: False
    environment = collect_environment()
    print(f'# {environment["device"]["name"]}, {environment["device"]["cpu_threads"]} CPU threads')
    width = 60
    live = sys.stderr.isatty()

    def progress(text: str) -> None:
        if live:
            print('\r' + text[:width].ljust(width), end='\r', file=sys.stderr, flush=True)

    results = []
    for setting in args.settings:
        for precision in args.precision or (['bf16'] if device == 'cuda' else ['fp32', 'bf16']):
            results.append(
                measure(
                    setting,
                    precision,
                    args.batch or BATCH[device][setting],
                    args.device,
                    tuple(dict.fromkeys(('mae', *args.methods))),
                    args.rounds,
                    args.warmup,
                    args.parts,
                    args.memory,
                    args.peak_tflops,
                    progress=progress,
                )
            )
            print('\n' + table(results[-1], device), flush=True)
            if args.json:  # after each, so that an interrupted run keeps what it has
                command = ' '.join(
                    ['python', 'benchmarks/pretrain_step.py', *(argv or sys.argv[1:])]
                )
                record = dict(command=portable(command), **environment, results=results)
                args.json.parent.mkdir(parents=True, exist_ok=True)
                args.json.write_text(json.dumps(record, indent=1) + '\n')


if __name__ == '__main__':
    main()
