"""i-MAE's teacher: a frozen MAE encoder from its pre-training checkpoint."""

from pathlib import Path

import torch
from torch import Tensor, nn

from mixae.checkpoints.load import encoder_state, load_encoder
from mixae.checkpoints.read import read_checkpoint
from mixae.errors import CheckpointError
from mixae.files import file_sha256
from mixae.registry import MODELS

# What the run record of an i-MAE says about its teacher's training.
TEACHER_COST = ('epochs', 'images_seen', 'seconds', 'device', 'device_count', 'flops')


def build_teacher(
    teacher: dict | None, student: nn.Module, student_config: dict
) -> tuple[nn.Module, dict]:
    """A frozen MAE encoder from its checkpoint; see :class:`IMAE` for ``teacher`` and the errors.

    Returns:
        tuple: The encoder, and a record's ``teacher`` block: its checkpoint's name and SHA-256,
        and what its pre-training cost, which is part of the student's cost (None where the
        checkpoint does not tell).
    """

    teacher = dict(teacher or {})
    checkpoint = teacher.pop('checkpoint', None)
    config = teacher.pop('backbone', None) or student_config
    if teacher:
        raise ValueError(f'teacher has the unknown options {sorted(teacher)}.')
    if not checkpoint:
        raise CheckpointError(
            'i-MAE distils from a pre-trained MAE, and no teacher checkpoint is given: set '
            'model.teacher.checkpoint to the checkpoint of an MAE pre-training, or '
            'model.distill=None to train without distillation. A random teacher is never used.'
        )
    try:
        state = encoder_state(read_checkpoint(checkpoint), checkpoint)
    except CheckpointError as error:
        raise CheckpointError(
            f"i-MAE's teacher, model.teacher.checkpoint={checkpoint}, cannot be used: {error} "
            'Train the MAE of the *_teacher.py config beside this one first, name another '
            'checkpoint, or set model.distill=False to train without distillation.'
        ) from error
    _check_same_tokens(state, student, checkpoint)
    with torch.random.fork_rng(devices=[]):  # the student's own draws do not depend on a teacher
        encoder = MODELS.build({**config, 'init_cfg': None, 'frozen': True})
    told = load_encoder(encoder, checkpoint, allow=()).get('mixae', {})
    cost = {key: told.get(key) for key in TEACHER_COST}
    provenance = dict(checkpoint=Path(checkpoint).name, sha256=file_sha256(checkpoint), **cost)
    provenance['labels_in_pretraining'] = bool(told.get('labels_in_pretraining'))
    return encoder, provenance


def _check_same_tokens(state: dict[str, Tensor], student: nn.Module, checkpoint: str) -> None:
    """Name the teacher's and the student's width, patch size and grid where they differ."""

    kernel = state.get('patch_embed.projection.weight')
    pos_embed = state.get('pos_embed')
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
