"""A frozen teacher: the encoder of an MAE, read from its pre-training checkpoint."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from mixae.checkpoints.account import KEY
from mixae.checkpoints.load import encoder_state, load_encoder
from mixae.checkpoints.read import read_checkpoint
from mixae.errors import CheckpointError, ConfigError
from mixae.files import file_sha256
from mixae.registry import MODELS

# What the run record of a student says about its teacher's training.
TEACHER_COST = ('epochs', 'images_seen', 'seconds', 'device', 'device_count', 'flops')


class WithTeacher(nn.Module):
    """A model that learns from a frozen encoder which is no part of it.

    None of the teacher's weights is in ``parameters()``, in the optimizer, in ``state_dict()`` or
    touched by ``train()``; it only follows the model to its device. It is read from its own
    checkpoint whenever the model is built, a resumed run included; the model's checkpoint keeps
    its SHA-256, and loading weights that were distilled from another teacher stops with an error.
    The model's own encoder is its ``backbone``.

    Attributes:
        teacher (nn.Module | None): A :class:`MaskedViT`; None until :meth:`load_teacher`.
        teacher_provenance (dict | None): The ``teacher`` block of a run record: the checkpoint's
            name and SHA-256, and what its pre-training cost, which is part of the student's cost
            (None where the checkpoint does not tell).
    """

    teacher: nn.Module | None = None
    teacher_provenance: dict | None = None

    def load_teacher(
        self, own: dict, checkpoint: str | None = None, backbone: dict | None = None, **unknown
    ) -> None:
        """Read the teacher.

        Args:
            own (dict): The config of the model's own ``backbone``.
            checkpoint (str): Of an MAE pre-training.
            backbone (dict, optional): The teacher's config. Defaults to None: ``own``.

        Raises:
            ConfigError: An unknown option.
            CheckpointError: No checkpoint; one that cannot be read, is not of an MAE, does not fit
                its config or has another width, patch size or number of patches than the model.
        """
        if unknown:
            raise ConfigError(
                f'model.teacher has the unknown options {sorted(unknown)}: it takes checkpoint and '
                'backbone.'
            )
        if not checkpoint:
            raise CheckpointError(
                'i-MAE distils from a pre-trained MAE, and no teacher checkpoint is given: set '
                'model.teacher.checkpoint to the checkpoint of an MAE pre-training, or '
                'model.distill=None to train without distillation. A random teacher is never used.'
            )
        try:
            content = read_checkpoint(checkpoint)
            state = encoder_state(content, checkpoint)
        except CheckpointError as error:
            raise CheckpointError(
                f"i-MAE's teacher, model.teacher.checkpoint={checkpoint}, cannot be used: {error} "
                'Pre-train that MAE first (configs/mae), name another checkpoint, or set '
                'model.distill=None to train without distillation.'
            ) from error
        account = content.get(KEY) or {}
        method = account.get('method') or 'mae'  # other projects' checkpoints do not tell
        if method != 'mae':
            raise CheckpointError(
                f'model.teacher.checkpoint={checkpoint} was pre-trained as {method}; i-MAE distils '
                'from an MAE: name the checkpoint of one (configs/mae).'
            )
        _check_same_tokens(state, self.backbone, checkpoint)
        with torch.random.fork_rng(devices=[]):  # the model's own draws do not depend on a teacher
            encoder = MODELS.build({**(backbone or own), 'init_cfg': None, 'frozen': True})
        load_encoder(encoder, checkpoint, allow=())
        sha256 = file_sha256(checkpoint)
        object.__setattr__(self, 'teacher', encoder)  # past nn.Module's registration
        self.teacher_provenance = dict(
            checkpoint=Path(checkpoint).name,
            sha256=sha256,
            **{key: account.get(key) for key in TEACHER_COST},
            labels_in_pretraining=bool(account.get('labels_in_pretraining')),
        )
        digest = torch.tensor(list(bytes.fromhex(sha256)), dtype=torch.uint8)
        self.register_buffer('teacher_sha256', digest)

    def _apply(self, fn: Callable, recurse: bool = True) -> 'WithTeacher':
        if self.teacher is not None:
            self.teacher._apply(fn, recurse)  # .to(), .cuda(): the teacher goes along
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        saved = state_dict.get(f'{prefix}teacher_sha256')
        if self.teacher is not None and saved is not None:
            given, own = bytes(saved.tolist()).hex(), self.teacher_provenance['sha256']
            if given != own:
                raise CheckpointError(
                    f'These weights were distilled from the teacher with SHA-256 {given[:12]}..., '
                    f'but model.teacher.checkpoint is {own[:12]}...: resume with the same teacher.'
                )
        super()._load_from_state_dict(state_dict, prefix, *args)


def _check_same_tokens(state: dict[str, Tensor], student: nn.Module, checkpoint: str) -> None:
    """Name the teacher's and the student's width, patch size and grid where they differ."""
    kernel, pos_embed = state.get('patch_embed.projection.weight'), state.get('pos_embed')
    if kernel is None or pos_embed is None:
        return  # no ViT encoder: the checked load names the keys
    own = student.patch_embed.projection.weight
    for what, theirs, ours in (
        ('width', kernel.shape[0], own.shape[0]),
        ('patch size', kernel.shape[-1], own.shape[-1]),
        ('number of patches', pos_embed.shape[1] - 1, student.num_patches),
    ):
        if theirs != ours:
            raise CheckpointError(
                f'The teacher in {checkpoint} has the {what} {theirs}, the student {ours}: '
                'distillation compares their tokens one by one, so these must be equal. Choose '
                "the MAE checkpoint of the student's architecture and image size."
            )
