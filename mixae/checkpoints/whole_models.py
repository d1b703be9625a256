"""Models with the weights of a checkpoint, for evaluation and pictures."""

from pathlib import Path

from torch import nn

from mixae.checkpoints.load import load_encoder, load_weights
from mixae.registry import MODELS


def load_model(config: dict, checkpoint: str | Path) -> nn.Module:
    """A model with all weights of its checkpoint, in evaluation mode.

    An i-MAE comes without its teacher, which only training needs.

    Args:
        config (dict): The ``model`` part of the config that trained it, resolved.
        checkpoint (str | Path): The checkpoint as it was saved.

    Raises:
        CheckpointError: It cannot be read, or does not fit: the keys are named.
    """
    if 'distill' in config:
        config = {**config, 'distill': None, 'teacher': None}
    model = MODELS.build(config)
    load_weights(model, checkpoint)
    return model.eval()


def load_frozen_encoder(backbone: dict, checkpoint: str | Path) -> nn.Module:
    """The encoder of a pre-training checkpoint, frozen.

    Args:
        backbone (dict): The config of a :class:`MaskedViT`.
        checkpoint (str | Path): Of any pre-training.

    Raises:
        CheckpointError: As :func:`load_encoder`; no key may be missing.
    """
    encoder = MODELS.build({**backbone, 'init_cfg': None, 'frozen': True})
    load_encoder(encoder, checkpoint, allow=())
    return encoder


def as_mae(config: dict) -> dict:
    """The ``model`` part of an MAE of an i-MAE's architecture."""
    parts = ('data_preprocessor', 'backbone', 'neck', 'head')
    return dict(type='mmpretrain.MAE', **{part: config[part] for part in parts if part in config})
