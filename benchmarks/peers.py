"""MAE's training step here and in the libraries that people use, side by side.

    python benchmarks/peers.py --batch 8 --rounds 3 --json out.json
    python benchmarks/peers.py --device cuda --peak-tflops 989 --facebook CHECKOUT

All train the same ViT at the same batch and precision, on the same images, with torch's AdamW.
Before anything is timed all compute the loss of the same weights, images and mask, which must
agree. Peers that are not installed are left out, and named. README.md beside this file has more.
"""

import argparse
import importlib
import json
import re
import sys
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np  # noqa: E402
import pretrain_step as steps  # noqa: E402, needs the path, and sets how threads wait
import timm.models.vision_transformer as timm_vit  # noqa: E402
import torch  # noqa: E402
from mmpretrain.models import MAEViT  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from mixae.errors import ConfigError  # noqa: E402
from mixae.registry import MODELS  # noqa: E402
from mixae.results.record import collect_environment, portable  # noqa: E402

PEERS = ('mixae', 'mmpretrain', 'transformers', 'facebook')
INSTALL = dict(transformers='pip install transformers', facebook='--facebook CHECKOUT')
SEED = 1  # of the mask in the comparison of losses


class Absent(Exception):
    """A peer that is not installed."""


def build_mmpretrain(model: nn.Module, cfg) -> nn.Module:
    """mmpretrain's MAE around its own encoder, as it ships it."""
    backbone = cfg.model.backbone
    options = {k: backbone[k] for k in ('arch', 'img_size', 'patch_size', 'mask_ratio')}
    backbone = dict(type=MAEViT, **options)
    theirs = MODELS.build({**cfg.model, '_scope_': 'mmpretrain', 'backbone': backbone})
    theirs.load_state_dict(model.state_dict())
    return theirs


class _Plain(nn.Module):
    """Another library's model, called as ours are."""

    def __init__(self, preprocessor: nn.Module, model: nn.Module, loss: Callable) -> None:
        super().__init__()
        self.data_preprocessor, self.model, self._loss = preprocessor, model, loss

    def train_step(self, data: dict, wrapper) -> None:
        with wrapper.optim_context(self):
            loss = self.loss(self.data_preprocessor(data)['inputs'], None)['loss']
        wrapper.update_params(loss)

    def loss(self, inputs: Tensor, data_samples=None) -> dict[str, Tensor]:
        return dict(loss=self._loss(self.model, inputs))


def build_transformers(model: nn.Module, cfg) -> nn.Module:
    """Hugging Face's ViTMAEForPreTraining with the weights of ours."""
    try:
        library = importlib.import_module('transformers')
    except ImportError as error:
        raise Absent from error
    encoder, decoder = model.backbone, model.neck
    config = library.ViTMAEConfig(
        hidden_size=encoder.embed_dims,
        num_hidden_layers=encoder.num_layers,
        num_attention_heads=encoder.arch_settings['num_heads'],
        intermediate_size=encoder.arch_settings['feedforward_channels'],
        image_size=cfg.model.backbone.img_size,
        patch_size=cfg.model.backbone.patch_size,
        mask_ratio=cfg.model.backbone.mask_ratio,
        norm_pix_loss=True,
        layer_norm_eps=1e-6,
        decoder_hidden_size=decoder.decoder_embed.out_features,
        decoder_num_hidden_layers=len(decoder.decoder_blocks),
        decoder_num_attention_heads=decoder.decoder_blocks[0].attn.num_heads,
        decoder_intermediate_size=decoder.decoder_blocks[0].ffn.feedforward_channels,
    )
    theirs = library.ViTMAEForPreTraining(config)
    block = {
        'ln1': 'layernorm_before', 'ln2': 'layernorm_after', 'attn.proj': 'attention.output.dense',
        'ffn.layers.0.0': 'intermediate.dense', 'ffn.layers.1': 'output.dense',
    }  # fmt: skip
    rest = {
        'backbone.patch_embed.projection': 'vit.embeddings.patch_embeddings.projection',
        'backbone.cls_token': 'vit.embeddings.cls_token',
        'backbone.pos_embed': 'vit.embeddings.position_embeddings',
        'backbone.ln1': 'vit.layernorm',
        'neck.decoder_pos_embed': 'decoder.decoder_pos_embed',
        'neck.ln1': 'decoder.decoder_norm',
    }
    state = {}
    for name, value in model.state_dict().items():
        if match := re.match(r'(backbone\.layers|neck\.decoder_blocks)\.(\d+)\.(.*)', name):
            stack = 'vit.encoder.layer' if match[1].startswith('back') else 'decoder.decoder_layers'
            inner, _, kind = match[3].rpartition('.')
            if inner == 'attn.qkv':
                for part, piece in zip(('query', 'key', 'value'), value.chunk(3), strict=True):
                    state[f'{stack}.{match[2]}.attention.attention.{part}.{kind}'] = piece
            else:
                state[f'{stack}.{match[2]}.{block[inner]}.{kind}'] = value
        else:
            old = next((key for key in rest if name.startswith(key)), None)
            name = name.replace(old, rest[old]) if old else name.replace('neck.', 'decoder.')
            state[name] = value
    theirs.load_state_dict(state)
    patches = encoder.num_patches

    def loss(theirs: nn.Module, inputs: Tensor) -> Tensor:
        noise = torch.rand(len(inputs), patches, device=inputs.device)
        return theirs(inputs, noise=noise).loss

    return _Plain(model.data_preprocessor, theirs, loss)


@contextmanager
def _as_of_2021():
    """What Facebook's code takes for granted of timm and NumPy."""
    block = timm_vit.Block

    def old_block(*args, qk_scale=None, **kwargs):
        return block(*args, **kwargs)

    timm_vit.Block, np.float = old_block, float
    try:
        yield
    finally:
        timm_vit.Block = block
        del np.float


def build_facebook(model: nn.Module, cfg, checkout: str | None = None) -> nn.Module:
    """MaskedAutoencoderViT of facebookresearch/mae with the weights of ours.

    Args:
        checkout (str, optional): The folder of a checkout; its code is run.
    """
    if checkout is None:
        raise Absent
    if not (Path(checkout) / 'models_mae.py').is_file():
        raise ConfigError(f'--facebook {checkout}: no models_mae.py; expected a checkout of mae.')
    sys.path.insert(0, str(checkout))
    encoder, decoder = model.backbone, model.neck
    with _as_of_2021():
        library = importlib.import_module('models_mae')
        theirs = library.MaskedAutoencoderViT(
            img_size=cfg.model.backbone.img_size,
            patch_size=cfg.model.backbone.patch_size,
            embed_dim=encoder.embed_dims,
            depth=encoder.num_layers,
            num_heads=encoder.arch_settings['num_heads'],
            decoder_embed_dim=decoder.decoder_embed.out_features,
            decoder_depth=len(decoder.decoder_blocks),
            decoder_num_heads=decoder.decoder_blocks[0].attn.num_heads,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            norm_pix_loss=True,
        )
    sys.path.remove(str(checkout))
    names = {
        'backbone.layers': 'blocks', 'backbone.ln1': 'norm', 'neck.ln1': 'decoder_norm',
        'backbone.': '', 'neck.': '',
        'ffn.layers.0.0': 'mlp.fc1', 'ffn.layers.1': 'mlp.fc2', '.ln': '.norm',
        'patch_embed.projection': 'patch_embed.proj',
    }  # fmt: skip
    state = {}
    for name, value in model.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        state[name] = value
    theirs.load_state_dict(state)
    ratio = cfg.model.backbone.mask_ratio
    return _Plain(model.data_preprocessor, theirs, lambda one, x: one(x, mask_ratio=ratio)[0])


def build_all(cfg, device: str, names=PEERS, facebook: str | None = None) -> tuple[dict, list[str]]:
    """The models, all with the weights of ours, and the names of those that are not there."""
    model, _ = steps.build(cfg, device)
    builders = dict(
        mmpretrain=build_mmpretrain,
        transformers=build_transformers,
        facebook=lambda model, cfg: build_facebook(model, cfg, facebook),
    )
    models, absent = dict(mixae=model), []
    for name in names:
        if name == 'mixae':
            continue
        try:
            models[name] = builders[name](model, cfg).to(device).train()
        except Absent:
            absent.append(name)
    return models, absent


def same_loss(models: dict, data: dict) -> dict[str, float]:
    """The loss of each model for the same images and mask, in fp32.

    Raises:
        RuntimeError: They differ by more than a hundred-thousandth.
    """
    losses = {}
    for name, model in models.items():
        inputs = model.data_preprocessor(data)['inputs']
        torch.manual_seed(SEED)  # all draw torch.rand(images, patches), once
        with torch.no_grad():
            losses[name] = float(model.loss(inputs, None)['loss'])
    for name, value in losses.items():
        if abs(value - losses['mixae']) > 1e-5 * abs(losses['mixae']):
            raise RuntimeError(f'{name} computes another loss than ours: {losses}.')
    return losses


def measure(
    precision: str,
    batch: int,
    device: str = 'cpu',
    names: tuple[str, ...] = PEERS,
    rounds: int = 5,
    warmup: int = 1,
    peak_tflops: float | None = None,
    facebook: str | None = None,
    options: dict | None = None,
) -> dict:
    """Time the peers' steps in turns.

    Returns:
        dict: ``losses`` (:func:`same_loss`), ``absent``, and for each peer seconds, images/s, ratio
        to ours (time, within a round), MFU, and on CUDA the peak memory of its step in MB, which
        holds the weights of all.
    """
    cfg = steps.load_config('vitb_224', 'mae', precision, batch, options)
    models, absent = build_all(cfg, device, names, facebook)
    side = cfg.model.backbone.img_size
    data = dict(
        inputs=torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=device),
        data_samples=None,
    )
    losses = same_loss(models, data)
    cuda = device != 'cpu'
    jobs, peaks = {}, {}
    for name, model in models.items():
        # The same optimiser for all; of our wrapper the groups go by names that peers do not have.
        plain = {**cfg.optim_wrapper, 'paramwise_cfg': None}
        wrapper = steps.build_optim_wrapper(model, plain)

        def step(name=name, model=model, wrapper=wrapper) -> None:
            if cuda:
                torch.cuda.reset_peak_memory_stats()
            model.train_step(data, wrapper)
            if cuda:
                peaks[name] = torch.cuda.max_memory_allocated() / 1e6

        jobs[name] = step
    synchronize = torch.cuda.synchronize if cuda else lambda: None
    times = steps.interleave(jobs, rounds, warmup, synchronize)
    flops = count_flops(models['mixae'], data)
    peers = {}
    for name, one in times.items():
        rate = batch / float(np.median(one['wall']))
        peers[name] = dict(
            seconds=steps.spread(one['wall']),
            cpu_seconds=steps.spread(one['cpu']),
            images_per_second=rate,
            ratio_wall=steps.ratios(times, name, to='mixae'),
            ratio_cpu=steps.ratios(times, name, to='mixae', clock='cpu'),
            peak_mb=peaks.get(name),
            mfu=rate * flops / batch / (peak_tflops * 1e12) if peak_tflops else None,
        )
    return dict(
        precision=precision, batch=batch, rounds=rounds, warmup=warmup, losses=losses,
        absent=absent, gflops_per_image=flops / batch / 1e9, peers=peers,
    )  # fmt: skip


def count_flops(model: nn.Module, data: dict) -> float:
    """Operations of a whole step of ours, counted by torch with attention spelt out."""
    with (
        steps.sdpa_kernel(steps.SDPBackend.MATH),
        steps.FlopCounterMode(display=False) as counter,
    ):
        model.loss(model.data_preprocessor(data)['inputs'], None)['loss'].backward()
    model.zero_grad()
    return counter.get_total_flops()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--peers', nargs='+', choices=PEERS, default=list(PEERS))
    parser.add_argument('--facebook', help='folder of a checkout of facebookresearch/mae')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--precision', choices=['bf16', 'fp32'], default='bf16')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--warmup', type=int, default=1)
    parser.add_argument('--peak-tflops', type=float, help="the device's peak, for MFU")
    parser.add_argument('--json', type=Path, help='write everything measured here')
    args = parser.parse_args(argv)
    steps.quiet()
    steps.init_default_scope('mmpretrain')
    environment = collect_environment()
    result = measure(
        args.precision, args.batch, args.device, tuple(args.peers), args.rounds, args.warmup,
        args.peak_tflops, args.facebook,
    )  # fmt: skip
    print(f'# {environment["device"]["name"]}: MAE, ViT-B/16, 224, {args.precision}, {args.batch}')
    print(f'The same loss: {result["losses"]}')
    for name in result['absent']:
        print(f'{name} is left out: it is not there ({INSTALL[name]}).')
    print('\n| | images/s | time to ours (clock) | (CPU) | peak MB | MFU |')
    print('| --- | ---: | ---: | ---: | ---: | ---: |')
    for name, row in result['peers'].items():
        peak = f'{row["peak_mb"]:.0f}' if row['peak_mb'] else ''
        mfu = f'{row["mfu"]:.2f}' if row['mfu'] else ''
        print(
            f'| {name} | {row["images_per_second"]:.2f} | {row["ratio_wall"]["median"]:.3f} '
            f'| {row["ratio_cpu"]["median"]:.3f} | {peak} | {mfu} |'
        )
    if args.json:
        command = portable(' '.join(['python', 'benchmarks/peers.py', *(argv or sys.argv[1:])]))
        args.json.write_text(
            json.dumps(dict(command=command, **environment, **result), indent=1) + '\n'
        )


if __name__ == '__main__':
    main()
