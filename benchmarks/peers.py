"""MAE's training step here and in the libraries that people use, side by side.

    python benchmarks/peers.py --batch 8 --rounds 3 --json out.json
    python benchmarks/peers.py --device cuda --peak-tflops 989 --facebook CHECKOUT

All train the same ViT at the same batch and precision, on the same images, with torch's AdamW.
Before anything is timed all compute the loss of the same weights, images and mask, which must
agree. The steps of MixedAE and iBOT take their turns beside them, with as many images. Peers that
are not installed are left out, and named. README.md beside this file has more.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import partial
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np  # noqa: E402
import pretrain_step as steps  # noqa: E402, needs the path, and sets how threads wait
import timm.models.vision_transformer as timm_vit  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from mmpretrain.models import MAEViT  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from mixae.errors import ConfigError  # noqa: E402
from mixae.registry import MODELS  # noqa: E402
from mixae.results.record import collect_environment, portable  # noqa: E402

PEERS = ('mixae', 'mmpretrain', 'transformers', 'facebook', 'lightly')
METHODS = ('mixedae', 'ibot')  # steps of other methods, which have no loss to compare
INSTALL = dict(
    transformers="pip install 'transformers<5'",
    facebook='--facebook CHECKOUT',
    lightly="pip install 'lightly>=1.6'",
    ibot="pip install 'lightly>=1.6'",
)
TIMM = {
    'ffn.layers.0.0': 'mlp.fc1', 'ffn.layers.1': 'mlp.fc2', '.ln': '.norm',
    'patch_embed.projection': 'patch_embed.proj',
}  # fmt: skip
SEED = 1  # of the mask in the comparison of losses


class Absent(Exception):
    """A peer that is not installed."""


def _renamed(model: nn.Module, names: dict[str, str]) -> dict[str, Tensor]:
    """The weights of ours under another library's names, replaced in the order given."""
    state = {}
    for name, value in model.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        state[name] = value
    return state


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
    names = {
        'backbone.layers': 'vit.encoder.layer', 'backbone.ln1': 'vit.layernorm',
        'backbone.patch_embed': 'vit.embeddings.patch_embeddings',
        'backbone.pos_embed': 'vit.embeddings.position_embeddings',
        'backbone.': 'vit.embeddings.',
        'neck.decoder_blocks': 'decoder.decoder_layers', 'neck.ln1': 'decoder.decoder_norm',
        'neck.': 'decoder.',
        '.ln1': '.layernorm_before', '.ln2': '.layernorm_after',
        'attn.proj': 'attention.output.dense',
        'ffn.layers.0.0': 'intermediate.dense', 'ffn.layers.1': 'output.dense',
    }  # fmt: skip
    state = {}
    for name, value in _renamed(model, names).items():
        if 'attn.qkv' in name:
            for part, piece in zip(('query', 'key', 'value'), value.chunk(3), strict=True):
                state[name.replace('attn.qkv', f'attention.attention.{part}')] = piece
        else:
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
    }  # fmt: skip
    theirs.load_state_dict(_renamed(model, names | TIMM))
    ratio = cfg.model.backbone.mask_ratio
    return _Plain(model.data_preprocessor, theirs, lambda one, x: one(x, mask_ratio=ratio)[0])


def _lightly_vit(model: nn.Module, cfg, **kwargs) -> nn.Module:
    """An encoder of our size in lightly, which wraps timm's."""
    try:
        modules = importlib.import_module('lightly.models.modules')
        modules.MaskedVisionTransformerDecoderTIMM  # noqa: B018, new in 1.6
    except (ImportError, AttributeError) as error:
        raise Absent from error
    encoder = model.backbone
    vit = timm_vit.VisionTransformer(
        img_size=cfg.model.backbone.img_size,
        patch_size=cfg.model.backbone.patch_size,
        embed_dim=encoder.embed_dims,
        depth=encoder.num_layers,
        num_heads=encoder.arch_settings['num_heads'],
        mlp_ratio=encoder.arch_settings['feedforward_channels'] / encoder.embed_dims,
        num_classes=0,
        **kwargs,
    )
    return modules.MaskedVisionTransformerTIMM(vit)


def build_lightly(model: nn.Module, cfg) -> nn.Module:
    """MAE of lightly's parts with the weights of ours."""
    encoder = _lightly_vit(model, cfg)
    utils = importlib.import_module('lightly.models.utils')
    neck, patches, ratio = model.neck, model.backbone.num_patches, cfg.model.backbone.mask_ratio
    decoder = importlib.import_module('lightly.models.modules').MaskedVisionTransformerDecoderTIMM(
        num_patches=patches,
        embed_dim=neck.decoder_embed.out_features,
        depth=len(neck.decoder_blocks),
        num_heads=neck.decoder_blocks[0].attn.num_heads,
    )
    pixels = nn.Linear(decoder.norm.normalized_shape[0], neck.decoder_pred.out_features)
    embed = nn.Linear(encoder.vit.embed_dim, pixels.in_features)
    theirs = nn.ModuleDict(dict(encoder=encoder, embed=embed, decoder=decoder, pixels=pixels))
    names = {
        'backbone.layers': 'encoder.vit.blocks', 'backbone.ln1': 'encoder.vit.norm',
        'backbone.': 'encoder.vit.', 'neck.decoder_embed': 'embed', 'neck.decoder_pred': 'pixels',
        'neck.decoder_': 'decoder.', 'neck.ln1': 'decoder.norm', 'neck.': 'decoder.',
    }  # fmt: skip
    unused = {'encoder.mask_token': encoder.mask_token}
    theirs.load_state_dict(_renamed(model, names | TIMM) | unused)

    def loss(theirs: nn.Module, inputs: Tensor) -> Tensor:
        # Of the patches alone, so that the draw is that of ours; the class token is kept.
        keep, masked = utils.random_token_mask(
            (len(inputs), patches), ratio, mask_class_token=True, device=inputs.device
        )
        keep = F.pad(keep + 1, (1, 0))
        latent = theirs['embed'](theirs['encoder'].encode(inputs, idx_keep=keep))
        tokens = utils.repeat_token(theirs['decoder'].mask_token, (len(inputs), patches + 1))
        tokens = utils.set_at_index(tokens, keep, latent.type_as(tokens))
        decoded = utils.get_at_index(theirs['decoder'](tokens), masked + 1)
        pixels = utils.patchify(inputs, cfg.model.backbone.patch_size)
        target = utils.normalize_mean_var(utils.get_at_index(pixels, masked))
        return F.mse_loss(theirs['pixels'](decoded), target)

    return _Plain(model.data_preprocessor, theirs, loss)


class IBOT(_Plain):
    """iBOT of lightly's parts: a student, its average as the teacher, one head for all tokens.

    Inputs are the crops of :func:`crops`. As lightly's loss takes masked patches alone, only those
    pass through the head, which is less work than in the paper's code.

    Attributes:
        tokens (int): What the student encoded in its last step, per image.
    """

    def __init__(self, model: nn.Module, cfg, outputs: int = 8192, momentum: float = 0.996) -> None:
        def network() -> nn.Module:
            encoder = _lightly_vit(model, cfg, dynamic_img_size=True)
            heads = importlib.import_module('lightly.models.modules.heads')
            head = heads.DINOProjectionHead(encoder.vit.embed_dim, output_dim=outputs)
            return nn.ModuleDict(dict(encoder=encoder, head=head))

        super().__init__(model.data_preprocessor, network(), None)
        self.teacher = network().requires_grad_(False)
        self.teacher.load_state_dict(self.model.state_dict())
        losses = importlib.import_module('lightly.loss')
        self.whole, self.patches = losses.DINOLoss(outputs), losses.IBOTPatchLoss(outputs)
        self._utils = importlib.import_module('lightly.models.utils')
        self._momentum = momentum

    def train_step(self, data: dict, wrapper) -> None:
        super().train_step(data, wrapper)
        self._utils.update_momentum(self.model, self.teacher, self._momentum)

    def loss(self, inputs: list[Tensor], data_samples=None) -> dict[str, Tensor]:
        wide, narrow = torch.cat(inputs[:2]), torch.cat(inputs[2:])
        side = self.model['encoder'].vit.patch_embed.grid_size
        mask = self._utils.random_block_mask((len(wide), *side), device=wide.device)
        flat = mask.flatten(1)
        with torch.no_grad():
            teacher = self.teacher['encoder'].encode(wide)
            seen = [self.teacher['head'](x) for x in (teacher[:, 0], teacher[:, 1:][flat])]
        student = self.model['encoder'].encode(wide, mask=F.pad(flat, (1, 0)))
        local = self.model['encoder'].encode(narrow)
        self.tokens = (student[..., 0].numel() + local[..., 0].numel()) // len(inputs[0])
        views = self.model['head'](torch.cat([student[:, 0], local[:, 0]])).chunk(len(inputs))
        masked = self.model['head'](student[:, 1:][flat])
        whole = self.whole(list(seen[0].chunk(2)), list(views))
        return dict(loss=whole + self.patches(seen[1], masked, mask))


def crops(images: Tensor, patch: int) -> list[Tensor]:
    """iBOT's crops of uint8 images: 2 of the whole size and 10 of 6/14 of it (96 of 224)."""
    side = images.shape[-1]
    small = side * 6 // 14 // patch * patch
    corners = torch.randint(side - small + 1, (10, 2)).tolist()
    parts = [images[..., y : y + small, x : x + small].contiguous() for y, x in corners]
    return [images, images.flip(-1).contiguous(), *parts]


def build_all(
    cfg, device: str, names=PEERS, facebook: str | None = None, mixedae=None
) -> tuple[dict, list[str]]:
    """The models, all of MAE with the weights of ours, and the names of those not there.

    Args:
        mixedae (Config, optional): The config of MixedAE, where it is among the names.
    """
    model, _ = steps.build(cfg, device)
    builders = dict(
        mmpretrain=build_mmpretrain,
        transformers=build_transformers,
        facebook=lambda model, cfg: build_facebook(model, cfg, facebook),
        lightly=build_lightly,
        mixedae=lambda model, cfg: steps.build(mixedae, device)[0],
        ibot=IBOT,
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
    """The loss of each model of MAE for the same images and mask, in fp32.

    Raises:
        RuntimeError: They differ by more than a hundred-thousandth.
    """
    losses = {}
    for name, model in models.items():
        if name in METHODS:
            continue
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
    names: tuple[str, ...] = PEERS + METHODS,
    rounds: int = 5,
    warmup: int = 1,
    peak_tflops: float | None = None,
    facebook: str | None = None,
    options: dict | None = None,
) -> dict:
    """Time the peers' steps in turns.

    Returns:
        dict: ``losses`` (:func:`same_loss`), ``absent``, and for each peer seconds, images/s, ratio
        to ours (time, within a round), MFU (of MAE), and on CUDA the peak memory of its step in
        MB, which holds the weights of all; ``mixedae_over_ibot`` where both ran; ``times`` of every
        round.
    """
    cfg, mixedae = (
        steps.load_config('vitb_224', method, precision, batch, options)
        for method in ('mae', 'mixedae')
    )
    models, absent = build_all(cfg, device, names, facebook, mixedae)
    side = cfg.model.backbone.img_size
    data = dict(
        inputs=torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=device),
        data_samples=None,
    )
    views = dict(data, inputs=crops(data['inputs'], cfg.model.backbone.patch_size))
    losses = same_loss(models, data)
    cuda = device != 'cpu'
    jobs, peaks = {}, {}
    for name, model in models.items():
        # The same optimiser for all; of our wrapper the groups go by names that peers do not have.
        plain = {**cfg.optim_wrapper, 'paramwise_cfg': None}
        wrapper = steps.build_wrapper(model, plain)

        def step(name=name, model=model, wrapper=wrapper) -> None:
            if cuda:
                torch.cuda.reset_peak_memory_stats()
            model.train_step(views if name == 'ibot' else data, wrapper)
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
            mfu=rate * flops / batch / (peak_tflops * 1e12)
            if peak_tflops and name not in METHODS
            else None,
        )
    result = dict(
        precision=precision, batch=batch, rounds=rounds, warmup=warmup, losses=losses,
        absent=absent, gflops_per_image=flops / batch / 1e9, peers=peers, times=times,
    )  # fmt: skip
    if {'mixedae', 'ibot'} <= set(peers):
        result['mixedae_over_ibot'] = {
            clock: steps.ratios(times, 'mixedae', to='ibot', clock=clock) for clock in times['ibot']
        }
        result['ibot_tokens'] = models['ibot'].tokens
    return result


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
    every = [*PEERS, *METHODS]
    parser.add_argument('--peers', nargs='+', choices=every, default=every)
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
    for name in ('transformers', 'lightly'):
        with suppress(metadata.PackageNotFoundError):
            environment['versions'][name] = metadata.version(name)
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
        wall, cpu = steps.show(row['ratio_wall']), steps.show(row['ratio_cpu'])
        print(f'| {name} | {row["images_per_second"]:.2f} | {wall} | {cpu} | {peak} | {mfu} |')
    if over := result.get('mixedae_over_ibot'):
        wall, cpu = steps.show(over['wall']), steps.show(over['cpu'])
        print(f'\nMixedAE over iBOT: {wall} (clock), {cpu} (CPU)')
    if args.json:
        command = portable(' '.join(['python', 'benchmarks/peers.py', *(argv or sys.argv[1:])]))
        args.json.write_text(
            json.dumps(dict(command=command, **environment, **result), indent=1) + '\n'
        )


if __name__ == '__main__':
    main()
