"""What a checkpoint's training was and cost, carried inside the checkpoint."""

import resource
import time
from collections.abc import Mapping

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from timm.layers import to_2tuple
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from mixae.checkpoints.account import KEY, UNKNOWN_ORIGIN, read_origin, with_card
from mixae.datasets.splits import image_hashes
from mixae.engine.resume import SCHEDULE, describe_schedule
from mixae.models.backbones.timm_encoder import TimmEncoder
from mixae.models.backbones.vit import ARCHS
from mixae.registry import HOOKS
from mixae.results.record import collect_environment, config_sha256, portable

# So many training images are noted in a checkpoint: a test on a tenth of them finds one, at odds of
# 800 to 1.
IMAGES_NOTED = 64

# torch knows the cost of its attention kernels for GPUs, not of the one for CPUs.
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda q, k, v, *args, **kwargs: sdpa_flop_count(q, k, v)
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, q, k, v, *args, **kwargs: sdpa_backward_flop_count(grad, q, k, v)
    ),
}


@HOOKS.register_module()
class ProvenanceHook(Hook):
    """Counts what training costs and stores it, with what was trained, in every checkpoint.

    An evaluation reads ``checkpoint['mixae']`` and so needs no file but the checkpoint to say what
    it evaluates. Time, images and FLOPs add up over resumes. FLOPs are counted by torch at the
    first step (forward and backward, every process alike) and scaled by the images seen.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.origin: dict | None = None  # of a transfer run: what it started from
        self.account: dict | None = None  # of a test: the training of the checkpoint it loads
        self.seconds = 0.0
        self.images_seen = 0
        self.flops_per_image: float | None = None
        self._counter: FlopCounterMode | None = None
        self._images: list[str] | None = None  # of an evaluation: some that it trained on

    def before_run(self, runner: Runner) -> None:
        pretrained = runner.cfg.get('pretrained', 'scratch')
        if pretrained != 'scratch':
            # A resumed run's checkpoint says what the run started from.
            self.origin = UNKNOWN_ORIGIN if runner._resume else read_origin(pretrained)
            if not runner._resume and (card := runner.cfg.get('encoder_card')):
                self.origin = with_card(self.origin, card)

    def before_train(self, runner: Runner) -> None:
        self._clock = time.perf_counter()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        if self.flops_per_image is None:
            self._counter = FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION)
            self._counter.__enter__()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        images = len(data_batch['inputs'])
        if self._counter is not None:
            self.flops_per_image = self._counter.get_total_flops() / images
            self.release()
        self.images_seen += images * runner.world_size
        now = time.perf_counter()
        self.seconds += now - self._clock
        self._clock = now

    def release(self) -> None:
        """End the count of operations, which a step that fails would leave on in this process."""
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self._counter = None

    def before_val(self, runner: Runner) -> None:
        self._val_started = time.perf_counter()

    def after_val(self, runner: Runner) -> None:
        # Training waits while the model is validated; that is not the cost of training.
        if hasattr(self, '_clock'):
            self._clock += time.perf_counter() - self._val_started

    @property
    def flops(self) -> float | None:
        return None if self.flops_per_image is None else self.flops_per_image * self.images_seen

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        told = self.describe(runner) | self.progress(runner, checkpoint['meta']['iter'])
        told[SCHEDULE] = portable(describe_schedule(runner), roots=[runner.work_dir])
        checkpoint[KEY] = {**checkpoint.get(KEY, {}), **told}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        before = checkpoint.get(KEY, {})
        if runner._resume and before:
            self.seconds = before.get('seconds') or 0.0
            self.images_seen = before.get('images_seen') or 0
            self.flops_per_image = before.get('flops_per_image')
            self.origin = before.get('origin', self.origin)
        elif not runner.cfg.get('train_cfg'):
            self.account = before
            self.origin = before.get('origin', UNKNOWN_ORIGIN)

    def progress(self, runner: Runner, iterations: int) -> dict:
        """How far a run is: epochs (None where it has none) and iterations, of how many."""
        loop = runner.train_loop
        by_epoch = hasattr(loop, 'run_epoch')
        return dict(
            epochs=iterations // len(loop.dataloader) if by_epoch else None,
            iterations=iterations,
            max_iters=loop.max_iters,
        )

    def describe(self, runner: Runner) -> dict:
        """The training so far, in the words of a record's ``pretraining`` block."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        environment = collect_environment()
        sampler = getattr(runner.train_dataloader, 'sampler', None)
        pseudo = getattr(sampler, 'pseudo_provenance', None)
        teacher = getattr(model, 'teacher_provenance', None)
        # A student of a teacher that saw labels has seen them as well.
        labels = getattr(sampler, 'labels_in_pretraining', False)
        labels = bool(labels or (teacher or {}).get('labels_in_pretraining'))
        if self._images is None and runner.cfg.get('task'):
            self._images = sorted(image_hashes(runner.train_dataloader.dataset))[:IMAGES_NOTED]
        return portable(
            dict(
                method=runner.cfg.get('method'),
                variant=runner.variant | _pseudo_variant(pseudo),
                backbone=describe_backbone(runner.cfg.model.get('backbone', {})),
                config=runner.cfg.filename,
                config_sha256=config_sha256(runner.cfg),
                dataset=(runner.cfg.get('data_about') or {}).get('name'),
                length=describe_length(runner.cfg),
                changed=(runner.cfg.get('protocol') or {}).get('changed'),
                n_train=len(runner.train_dataloader.dataset),
                images=self._images,
                images_seen=self.images_seen,
                seconds=self.seconds,
                flops_per_image=self.flops_per_image,
                flops=self.flops,
                device=environment['device']['name'],
                device_count=runner.world_size,
                labels_in_pretraining=labels,
                pseudo_labels=pseudo,
                teacher=teacher,
                seed=runner.seed,
                commit=environment['commit']['hash'],
                origin=self.origin,
            ),
            roots=[runner.work_dir],
        )


def describe_length(cfg: Config) -> str | None:
    """The length of a run as protocols name it: '100e', '160000i', a kNN's k; None without one."""
    train_cfg = cfg.get('train_cfg') or {}
    probe = (cfg.get('test_cfg') or {}).get('probe') or {}
    if 'k' in probe:
        k = probe['k']  # of several the first is the protocol's
        return str(k if isinstance(k, int) else k[0])
    epochs = train_cfg.get('max_epochs') or probe.get('epochs')
    if epochs:
        return f'{epochs}e'
    return f'{train_cfg.max_iters}i' if train_cfg.get('max_iters') else None


def _pseudo_variant(pseudo: dict | None) -> dict:
    """Which pseudo-classes the pairs were drawn by, as an entry of the variant."""
    if pseudo is None:
        return {}
    digest = str(pseudo.get('checkpoint_sha256'))[:12]
    return dict(pseudo_labels=f'k={pseudo.get("k")}, seed={pseudo.get("seed")}, of {digest}')


def describe_variant(cfg: Config) -> dict:
    """What sets a pre-training run apart within its method: the config's ``variant``.

    Each entry names a key of the config by its path, so that an override shows in the tables. Of a
    part that is off (None) the first entry is False, and the others are left out; a path that ends
    in ``type`` says whether the part is there.
    """
    values, off = {}, set()
    for name, path in (cfg.get('variant') or {}).items():
        *parts, last = path.split('.')
        part = cfg
        for key in parts:
            part = part.get(key) if isinstance(part, Mapping | Config) else None
        if part is None:
            if tuple(parts) in off:
                continue
            off.add(tuple(parts))
            value = False
        else:
            value = True if last == 'type' else part.get(last)
        if isinstance(value, dict):
            value = ', '.join(f'{k}={v}' for k, v in value.items() if v is not None)
        # The form of an account has no place for lists.
        values[name] = value if isinstance(value, str | int | float | None) else str(value)
    return values


def describe_backbone(backbone: dict) -> dict:
    """``arch``, ``patch_size`` and ``img_size`` of an encoder's config.

    Sides that differ are written as '64x32', height first; channels other than 3 belong to the
    arch.
    """
    if 'model' in backbone:  # timm's name says the architecture
        found = TimmEncoder.dimensions(backbone)
        name = backbone['model'].removeprefix('timm:').partition('.')[0]
        return dict(arch=name, patch_size=found['patch_size'], img_size=found['img_size'])
    arch = backbone.get('arch', 'b')
    if isinstance(arch, str):
        names = {'deit-tiny': 'Ti', 'deit-small': 'S', 'mini': 'Mini'}
        arch = 'ViT-' + names.get(ARCHS.get(arch, arch), arch[:1].upper())
    else:
        arch = 'ViT-{embed_dims}x{num_layers}'.format(**arch)
    if (channels := backbone.get('in_chans', 3)) != 3:
        arch += f' ({channels} channel{"s" if channels > 1 else ""})'

    def side(value):
        sides = dict.fromkeys(to_2tuple(value))
        return next(iter(sides)) if len(sides) == 1 else 'x'.join(map(str, sides))

    return dict(
        arch=arch,
        patch_size=side(backbone.get('patch_size', 16)),
        img_size=side(backbone.get('img_size', 224)),
    )


def peak_memory_bytes() -> int:
    """The most memory held so far: on the GPU where there is one, else by this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
