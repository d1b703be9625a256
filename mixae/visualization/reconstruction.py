"""Pictures of what MAE and MixedAE reconstruct.

Shape legend: B images, G images a group (MixedAE), M = B/G mixed samples, L patches an image, V
visible patches an image, p values a patch.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmengine.config import Config
from mmpretrain.models import MAE
from torch import Tensor

from mixae.checkpoints.account import KEY
from mixae.checkpoints.read import read_checkpoint
from mixae.derive.values import check_seed
from mixae.errors import ConfigError
from mixae.files import check_output
from mixae.models.layers.masking import draw_visible, masks_from_visible
from mixae.models.selfsup.mixedae import MixedAE
from mixae.visualization.grid import ENDINGS, save_figure
from mixae.visualization.loading import images_of_dataset, images_of_files, load_pretrained_model
from mixae.visualization.pixels import (
    NORMALISED,
    for_matplotlib,
    hide_masked,
    masked_pixels,
    to_rgb,
    undo_normalisation,
)

# Okabe and Ito's colours, which colour-blind people can tell apart too.
COLOURS = ('#E69F00', '#56B4E9', '#009E73', '#CC79A7', '#F0E442', '#D55E00', '#0072B2', '#999999')
CELL = 1.45  # inches
MOST = 256  # images of a picture


@dataclass
class Reconstruction:
    """What a model saw of images and made of them; pictures are float RGB in [0, 1].

    Attributes:
        originals: (B, 3, H, W).
        masked: What the encoder sees of each image, (B, 3, H, W); masked patches are grey.
        mixed: The mixed samples of MixedAE, (M, 3, H, W); None for MAE.
        owner_ML: The image in the group that each patch of a mixed sample belongs to; or None.
        mask_BL: 1 = masked.
        grid: Rows and columns of patches.
        predictions: The decoder's prediction at every patch, (B, 3, H, W).
        pasted: The predictions with the visible patches as they are in the original.
        caption: What has to be said about the predictions.
    """

    originals: Tensor
    masked: Tensor
    mixed: Tensor | None
    owner_ML: Tensor | None
    mask_BL: Tensor
    grid: tuple[int, int]
    predictions: Tensor
    pasted: Tensor
    caption: str


@torch.no_grad()
def reconstruct(model: MAE, images: Tensor, seed: int = 0) -> Reconstruction:
    """Mask (and mix) images as pre-training does, and reconstruct them.

    Args:
        model (MAE): An MAE or MixedAE. Put into evaluation mode.
        images (Tensor): (B, C, H, W) of the model's input size, before normalisation. MixedAE
            mixes each G consecutive ones.
        seed (int): Of the masks. The caller's generator is left as it was. Defaults to 0.

    Raises:
        ConfigError: Images of another size, or not a multiple of G of them.
    """
    expected = (model.head.in_channels, *model.backbone.img_size)
    if tuple(images.shape[1:]) != expected:
        raise ConfigError(
            f'images of shape {tuple(images.shape)}: this model takes '
            f'(B, {", ".join(map(str, expected))}).'
        )
    L = model.backbone.num_patches
    is_mixed = isinstance(model, MixedAE)
    if is_mixed:
        if len(images) % model.groups:
            raise ConfigError(
                f'num_images={len(images)}: expected a multiple of {model.groups}, the images that '
                'this model mixes.'
            )
    model.eval()
    head, preprocessor = model.head, model.data_preprocessor
    inputs = (images.to(preprocessor.mean.device).float() - preprocessor.mean) / preprocessor.std
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if is_mixed:
            ids_visible_BV = model.draw_visible(inputs)
        else:
            ids_visible_BV = draw_visible(len(inputs), L, model.backbone.mask_ratio, inputs.device)
    if is_mixed:
        latent_BnD = model.encode(inputs, ids_visible_BV)
    else:
        latent_BnD = model.backbone(inputs, ids_visible=ids_visible_BV)[0]
    mask_BL, ids_restore_BL = masks_from_visible(ids_visible_BV, L)
    decode = model.decode if is_mixed else model.neck
    pred_BLp = undo_normalisation(head, decode(latent_BnD, ids_restore_BL), inputs)

    originals = images.cpu().float() / 255 if images.shape[1] == 3 else to_rgb(inputs, preprocessor)
    predictions = to_rgb(head.unpatchify(pred_BLp), preprocessor)
    masked = masked_pixels(head, mask_BL)
    mixed, owner_ML = None, None
    if is_mixed:
        mixed = (originals * ~masked).unflatten(0, (-1, model.groups)).sum(dim=1)
        owner_ML = mask_BL.cpu().unflatten(0, (-1, model.groups)).argmin(dim=1)
    return Reconstruction(
        originals=originals,
        masked=hide_masked(originals, head, mask_BL),
        mixed=mixed,
        owner_ML=owner_ML,
        mask_BL=mask_BL.cpu(),
        grid=tuple(model.backbone.patch_resolution),
        predictions=predictions,
        pasted=torch.where(masked, predictions, originals),
        caption=NORMALISED if head.norm_pix else '',
    )


def draw_reconstruction(reconstruction: Reconstruction, path: str | Path, title: str = '') -> Path:
    """Draw a grid, a row an image; MixedAE's groups lie below each other, their mix at the left.

    In a mixed sample the colour of a patch's frame says which image it belongs to: that of the
    frame around the original.

    Args:
        reconstruction (Reconstruction): See :func:`reconstruct`.
        path (str | Path): The PNG to write.
        title (str): Stands above. Defaults to ''.
    """
    r = reconstruction
    B, is_mixed = len(r.originals), r.mixed is not None
    groups = B // len(r.mixed) if is_mixed else 1
    wide = min(groups, 3) if is_mixed else 0  # cells that the mixed sample spans
    columns = [
        'original',
        'what the\nencoder sees',
        'prediction',
        'prediction with\nvisible patches',
    ]
    pictures = [r.originals, r.masked, r.predictions, r.pasted]
    height = B * CELL + (B // groups - 1) * 0.25 * is_mixed
    width = (len(columns) + wide * 1.05) * CELL
    caption = textwrap.wrap(r.caption, width=int(15 * width))
    top, bottom = 0.85 if title else 0.55, 0.1 + 0.16 * len(caption)
    figure = Figure(figsize=(width, height + top + bottom), dpi=120)

    def axes(left: float, up: float, side: float):
        """A square, in inches from the left and from the top of the grid."""
        total = height + top + bottom
        box = (left / width, (total - top - up - side) / total, side / width, side / total)
        ax = figure.add_axes(box)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        return ax

    for b in range(B):
        up = b * CELL + (b // groups) * 0.25 * is_mixed
        for c, (name, images) in enumerate(zip(columns, pictures, strict=True)):
            ax = axes((c + wide * 1.05) * CELL + 0.04, up, CELL - 0.08)
            ax.imshow(for_matplotlib(images[b]), interpolation='nearest')
            if b == 0:
                ax.set_title(name, fontsize=9)
            if c == 0 and is_mixed:
                ax.spines[:].set(visible=True, color=COLOURS[b % groups % len(COLOURS)], lw=3)
        if is_mixed and b % groups == 0:
            side = wide * CELL
            ax = axes(0.04, up + (groups * CELL - side) / 2, side - 0.04)
            ax.imshow(for_matplotlib(r.mixed[b // groups]), interpolation='nearest')
            _frame_patches(ax, r.owner_ML[b // groups], r.grid, r.mixed.shape[-2:])
            ax.set_title(f'mixed input of {groups} images', fontsize=9)
    total = height + top + bottom
    if title:
        figure.text(0.5, 1 - 0.08 / total, title, ha='center', va='top', fontsize=11)
    if caption:
        figure.text(0.5, 0.05 / total, '\n'.join(caption), ha='center', va='bottom', fontsize=8)
    return save_figure(figure, path, facecolor='white')


def _frame_patches(ax, owner_L: Tensor, grid: tuple[int, int], size: Sequence[int]) -> None:
    high, wide = size[0] / grid[0], size[1] / grid[1]
    for index, owner in enumerate(owner_L.tolist()):
        row, column = divmod(index, grid[1])
        ax.add_patch(
            Rectangle(
                (column * wide - 0.5 + 0.04 * wide, row * high - 0.5 + 0.04 * high),
                0.92 * wide,
                0.92 * high,
                fill=False,
                lw=1.6,
                edgecolor=COLOURS[owner % len(COLOURS)],
            )
        )


def reconstruction_picture(
    cfg: Config,
    checkpoint: str | Path,
    path: str | Path,
    images: Sequence[str | Path] = (),
    num_images: int = 8,
    split: str | None = None,
    seed: int = 0,
) -> Path:
    """The picture of a checkpoint's reconstructions.

    Args:
        cfg (Config): The pre-training config of the checkpoint.
        checkpoint (str | Path): The checkpoint.
        path (str | Path): The PNG to write.
        images (Sequence): Image files. Defaults to (): images of the config's data set.
        num_images (int): How many of them; a multiple of G for MixedAE. Defaults to 8.
        split (str, optional): See :func:`images_of_dataset`. Defaults to None.
        seed (int): Of the masks. Defaults to 0.

    Returns:
        Path: The PNG.

    Raises:
        ConfigError: A number of images that is less than 1, more than a picture holds, or no
            multiple of G; another model than MAE or MixedAE.
        OutputError: The picture cannot be written.
    """
    check_output(path, ENDINGS)
    check_seed(seed)
    if not 1 <= (len(images) or num_images) <= MOST:
        raise ConfigError(f'num_images={len(images) or num_images}: expected from 1 to {MOST}.')
    model = load_pretrained_model(cfg, checkpoint)
    pictures = images_of_files(cfg, images) if images else images_of_dataset(cfg, num_images, split)
    reconstruction = reconstruct(model, pictures, seed)
    masked = reconstruction.mask_BL.mean().item()
    epochs = read_checkpoint(checkpoint).get(KEY, {}).get('epochs')
    after = f', after {epochs} epoch{"s" if epochs > 1 else ""}' if epochs else ''
    title = f'{type(model).__name__}: {masked:.0%} of each image masked{after}'
    return draw_reconstruction(reconstruction, path, title)
