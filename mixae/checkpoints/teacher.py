"""A frozen teacher: the encoder of an MAE, read from its pre-training checkpoint."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from mixae.checkpoints.account import KEY, trained_for_a_task
from mixae.checkpoints.load import encoder_state
from mixae.checkpoints.read import read_checkpoint
from mixae.checkpoints.whole_models import load_frozen_encoder
from mixae.errors import CheckpointError, ConfigError
from mixae.files import file_sha256

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
        account = _read_account(checkpoint, self.backbone)
        with torch.random.fork_rng(devices=[]):  # the model's own draws do not depend on a teacher
            encoder = load_frozen_encoder(backbone or own, checkpoint)
        sha256 = file_sha256(checkpoint)
        object.__setattr__(self, 'teacher', encoder)  # past nn.Module's registration
        self.teacher_provenance = dict(
            checkpoint=Path(checkpoint).name,
            sha256=sha256,
            **{key: account.get(key) for key in TEACHER_COST},
            labels_in_pretraining=bool(account.get('labels_in_pretraining'))
            or trained_for_a_task(account),
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


def _read_account(checkpoint: str, student: nn.Module) -> dict:
    """The account of a teacher's checkpoint, once it is known to be one for this student."""
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
    own = student.state_dict()
    for key in ('patch_embed.projection.weight', 'pos_embed'):
        theirs, ours = (tuple(s[key].shape) if key in s else None for s in (state, own))
        if theirs != ours:
            raise CheckpointError(
                f'The teacher in {checkpoint} has {key} {theirs}, the student {ours}, and their '
                'tokens are compared one by one: choose the MAE checkpoint of the same width, '
                'patch size and number of patches.'
            )
    return account
