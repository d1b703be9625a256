"""A pre-trained encoder for use from Python, with the normalisation it was trained with.

Shape legend: B images, H x W pixels, N tokens (class token first), D width.
"""

import ast
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import functional as F

from mixae.checkpoints import load
from mixae.checkpoints.read import read_checkpoint
from mixae.errors import CheckpointError, ConfigError
from mixae.evaluation.features import pool_tokens
from mixae.models.backbones import MaskedViT

IMAGENET = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


class PretrainedEncoder(nn.Module):
    """An encoder that takes images as they are: see :func:`load_encoder`.

    Attributes:
        backbone (nn.Module): The encoder, frozen and in evaluation mode.
        img_size (int): Side in pixels that PIL images are brought to.
        mean, std (Tensor): Of the channels red, green and blue, from 0 to 255, (1, 3, 1, 1).
    """

    def __init__(
        self, backbone: nn.Module, img_size: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.img_size = img_size
        self.register_buffer('mean', torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @torch.no_grad()
    def features(self, images, pool: str | None = 'avg') -> Tensor:
        """Features after the encoder's final norm, on the encoder's device.

        Args:
            images (Tensor | Sequence[PIL.Image.Image]): RGB images, (B, 3, H, W): uint8 from 0 to
                255, or floating-point from 0 to 1. They keep their size. PIL images are resized
                and cropped at the centre to ``img_size``, as ImageNet's evaluation does.
            pool (str, optional): 'avg' or 'std' over the patch tokens, 'cls' for the class token,
                None for all tokens. Defaults to 'avg'.

        Returns:
            Tensor: (B, D), or (B, N, D) without pooling.

        Raises:
            ConfigError: Images of another form or range, or an unknown ``pool``.
        """
        if isinstance(images, Image.Image):
            images = [images]
        if not isinstance(images, Tensor):
            images = torch.stack([self._from_pil(image) for image in images])
        if images.ndim != 4 or images.shape[1] != 3:
            raise ConfigError(f'images of shape {tuple(images.shape)}: expected (B, 3, H, W).')
        images_B3HW = images.to(self.mean.device)
        if images.dtype != torch.uint8:
            if not images.is_floating_point() or images.min() < 0 or images.max() > 1:
                raise ConfigError(
                    f'images of {images.dtype} from {images.min():g} to {images.max():g}: expected '
                    'uint8 from 0 to 255 or floating point from 0 to 1, not normalised.'
                )
            images_B3HW = images_B3HW * 255
        tokens_BND = self.backbone((images_B3HW - self.mean) / self.std, mask=None)[-1]
        return tokens_BND if pool is None else pool_tokens(tokens_BND, pool)

    def _from_pil(self, image: Image.Image) -> Tensor:
        image = F.resize(
            image.convert('RGB'), round(self.img_size * 8 / 7), F.InterpolationMode.BICUBIC
        )
        return F.pil_to_tensor(F.center_crop(image, self.img_size))


def load_encoder(path: str | Path, *, num_heads: int | None = None) -> PretrainedEncoder:
    """A pre-trained encoder with its normalisation.

    Example::

        import mixae
        encoder = mixae.load_encoder('epoch_800.pth')
        features = encoder.features(images)  # (B, D)

    The architecture comes from the weights, and the number of heads and the normalisation from the
    config that the checkpoint holds. A checkpoint without one, such as another project's, gets a
    head for each 64 channels and ImageNet's normalisation.

    Args:
        path (str | Path): A pre-training checkpoint, ours or of a project that
            :mod:`mixae.checkpoints.key_mappings` knows. No code in it is run.
        num_heads (int, optional): Attention heads. Defaults to None: as above.

    Raises:
        CheckpointError: An unreadable checkpoint, or one without a complete ViT.
        ConfigError: The number of heads is unknown or does not divide the width.
    """
    content = read_checkpoint(path)
    state = load.encoder_state(content, path)
    model = _stored_config(content.get('meta', {})).get('model', {})
    backbone, dimensions = _backbone(state, path, model.get('backbone', {}), num_heads)
    load.load_encoder(backbone, path, allow=())
    stored = model.get('data_preprocessor') or {}
    norm = {key: stored.get(key) or IMAGENET[key] for key in ('mean', 'std')}
    return PretrainedEncoder(backbone, dimensions, **norm).eval()


def _backbone(
    state: dict[str, Tensor], path: str | Path, stored: dict, num_heads: int | None
) -> tuple[MaskedViT, int]:
    """An encoder as wide and deep as the weights, and the side of its images."""
    needed = ('pos_embed', 'patch_embed.projection.weight', 'layers.0.ffn.layers.0.0.weight')
    if missing := [key for key in needed if key not in state]:
        raise CheckpointError(f'{path} has no ViT as its encoder: {", ".join(missing)} missing.')
    width, _, patch_size, _ = state['patch_embed.projection.weight'].shape
    if num_heads is None:
        num_heads = _stored_heads(stored, width)
    if num_heads is None or num_heads < 1 or width % num_heads:
        raise ConfigError(
            f'{path}: num_heads={num_heads} for an encoder {width} wide. Give num_heads, a number '
            'that divides the width.'
        )
    side = round((state['pos_embed'].shape[1] - 1) ** 0.5) * patch_size
    arch = dict(
        embed_dims=width,
        num_layers=1 + max(int(key.split('.')[1]) for key in state if key.startswith('layers.')),
        num_heads=num_heads,
        feedforward_channels=len(state['layers.0.ffn.layers.0.0.weight']),
    )
    options = dict(arch=arch, img_size=side, patch_size=patch_size, out_type='raw', frozen=True)
    return MaskedViT(**options), side


def _stored_heads(stored: dict, width: int) -> int | None:
    """Attention heads as the checkpoint's config says, or one for each 64 channels."""
    arch = stored.get('arch')
    if isinstance(arch, str):
        arch = MaskedViT.find_arch(arch)
    if isinstance(arch, dict) and arch.get('embed_dims') == width:
        return arch.get('num_heads')
    return width // 64 if width % 64 == 0 else None


def _stored_config(meta: dict) -> dict:
    """The plain values of the config text in a checkpoint; it is parsed, and never run."""
    text = meta.get('cfg') if isinstance(meta, dict) else None
    try:
        tree = ast.parse(text) if isinstance(text, str) else ast.Module(body=[])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    return {
        node.targets[0].id: _plain(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def _plain(node: ast.AST):
    """The value of ``dict(...)``, of lists and of literals; None for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return {keyword.arg: _plain(keyword.value) for keyword in node.keywords if keyword.arg}
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
