"""Pictures of what MAE and MixedAE reconstruct.

Shape legend: B images, G images a group (MixedAE), M = B/G mixed samples, L patches an image, V
visible patches an image, p values a patch.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mmcv
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from mmpretrain.models import MAE
from torch import Tensor, nn

from mixae.checkpoints.read import read_checkpoint
from mixae.derive.resolve import resolve
from mixae.errors import CheckpointError, ConfigError, DataError
from mixae.models.layers.masking import draw_visible, masks_from_visible
from mixae.models.layers.mixing import check_group
from mixae.models.selfsup.mixedae import MixedAE
from mixae.registry import DATASETS, MODELS, TRANSFORMS

# Okabe and Ito's colours, which colour-blind people can tell apart too.
COLOURS = ('#E69F00', '#56B4E9', '#009E73', '#CC79A7', '#F0E442', '#D55E00', '#0072B2', '#999999')
GREY = 0.55
CELL = 1.45  # inches


@dataclass
class Reconstruction:
    """What a model saw of images and made of them; pictures are float RGB in [0, 1].

    Attributes:
        originals: (B, 3, H, W).
        masked: What the encoder sees of each image, (B, 3, H, W); masked patches are grey.
        mixed: The mixed samples of MixedAE, (M, 3, H, W); None for MAE.
        owner_ML: The image in the group that each patch of a mixed sample belongs to; or None.
        mask_BL: 1 = masked.
        predictions: The decoder's prediction at every patch, (B, 3, H, W).
        pasted: The predictions with the visible patches as they are in the original.
        normalised: Whether the target was normalised patch by patch. The prediction was then
            undone with the mean and standard deviation of the *original's* patches.
    """

    originals: Tensor
    masked: Tensor
    mixed: Tensor | None
    owner_ML: Tensor | None
    mask_BL: Tensor
    predictions: Tensor
    pasted: Tensor
    normalised: bool

    @property
    def caption(self) -> str:
        """What has to be said about the predictions."""
        if not self.normalised:
            return ''
        return (
            "The target is normalised patch by patch. That is undone with the original patches' "
            'mean and standard deviation: brightness and contrast of each patch are given, its '
            'structure is predicted.'
        )


def undo_normalisation(head: nn.Module, pred_BLp: Tensor, images: Tensor) -> Tensor:
    """Take ``MAEPretrainHead``'s target back to pixel values, the inverse of its normalisation.

    Args:
        head (nn.Module): The head; with ``norm_pix=False`` nothing is done.
        pred_BLp (Tensor): Prediction for every patch.
        images (Tensor): The images, (B, 3, H, W), whose patches' mean and variance are used.

    Returns:
        Tensor: (B, L, p), on the scale of ``images``.
    """
    if not head.norm_pix:
        return pred_BLp
    patches_BLp = head.patchify(images)
    mean_BL1 = patches_BLp.mean(dim=-1, keepdim=True)
    std_BL1 = (patches_BLp.var(dim=-1, keepdim=True) + 1e-6) ** 0.5  # the head's own constant
    return pred_BLp * std_BL1 + mean_BL1


@torch.no_grad()
def reconstruct(model: MAE, images: Tensor, seed: int = 0) -> Reconstruction:
    """Mask (and mix) images as pre-training does, and reconstruct them.

    Args:
        model (MAE): An MAE or MixedAE. Put into evaluation mode.
        images (Tensor): RGB, uint8, (B, 3, H, W) of the model's input size. MixedAE mixes each G
            consecutive ones.
        seed (int): Of the masks. The caller's generator is left as it was. Defaults to 0.

    Raises:
        ValueError: Images of another size, or not a multiple of G of them.
    """
    size = model.backbone.img_size
    if tuple(images.shape[1:]) != (3, *size):
        raise ValueError(
            f'images of shape {tuple(images.shape)}: this model takes (B, 3, {size[0]}, {size[1]}).'
        )
    L = model.backbone.num_patches
    is_mixed = isinstance(model, MixedAE)
    if is_mixed:
        check_group(len(images), L, model.groups)
    model.eval()
    preprocessor = model.data_preprocessor
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
    pred_BLp = undo_normalisation(model.head, model.neck(latent_BnD, ids_restore_BL), inputs)

    def picture(patches_BLp: Tensor) -> Tensor:
        values = model.head.unpatchify(patches_BLp) * preprocessor.std + preprocessor.mean
        return (values / 255).clamp(0, 1).cpu()

    head = model.head
    originals = images.cpu().float() / 255
    visible_BL1 = 1 - mask_BL[..., None].cpu()
    patches_BLp = head.patchify(originals)
    predictions = picture(pred_BLp)
    pasted = head.unpatchify(
        torch.where(visible_BL1.bool(), patches_BLp, head.patchify(predictions))
    )
    shown_BLp = patches_BLp * visible_BL1
    mixed, owner_ML = None, None
    if is_mixed:
        mixed = head.unpatchify(shown_BLp.unflatten(0, (-1, model.groups)).sum(dim=1))
        owner_ML = visible_BL1[..., 0].unflatten(0, (-1, model.groups)).argmax(dim=1)
    return Reconstruction(
        originals=originals,
        masked=head.unpatchify(shown_BLp + GREY * (1 - visible_BL1)),
        mixed=mixed,
        owner_ML=owner_ML,
        mask_BL=mask_BL.cpu(),
        predictions=predictions,
        pasted=pasted,
        normalised=head.norm_pix,
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
            ax.imshow(_last(images[b]), interpolation='nearest')
            if b == 0:
                ax.set_title(name, fontsize=9)
            if c == 0 and is_mixed:
                ax.spines[:].set(visible=True, color=COLOURS[b % groups % len(COLOURS)], lw=3)
        if is_mixed and b % groups == 0:
            side = wide * CELL
            ax = axes(0.04, up + (groups * CELL - side) / 2, side - 0.04)
            ax.imshow(_last(r.mixed[b // groups]), interpolation='nearest')
            _frame_patches(ax, r.owner_ML[b // groups], r.mixed.shape[-2:])
            ax.set_title(f'mixed input of {groups} images', fontsize=9)
    total = height + top + bottom
    if title:
        figure.text(0.5, 1 - 0.08 / total, title, ha='center', va='top', fontsize=11)
    if caption:
        figure.text(0.5, 0.05 / total, '\n'.join(caption), ha='center', va='bottom', fontsize=8)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor='white')
    return path


def _frame_patches(ax, owner_L: Tensor, size: Sequence[int]) -> None:
    side = round(len(owner_L) ** 0.5)
    high, wide = size[0] / side, size[1] / side
    for index, owner in enumerate(owner_L.tolist()):
        row, column = divmod(index, side)
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


def _last(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


# ---- from a config, a checkpoint and files -----------------------------------------------------


def load_pretrained_model(cfg: Config, checkpoint: str | Path) -> MAE:
    """The pre-training model of a config with all weights of its checkpoint.

    Raises:
        ConfigError: The config's model is no MAE or MixedAE.
        CheckpointError: The checkpoint cannot be read or does not fit; names the keys.
    """
    cfg, _ = resolve(cfg, cuda=False)
    if cfg.model.type not in ('MAE', 'mmpretrain.MAE', 'mixae.MixedAE', 'MixedAE'):
        raise ConfigError(
            f'model.type={cfg.model.type!r}: pictures of reconstructions are drawn for MAE and '
            'mixae.MixedAE; tools/analysis/imae_pictures.py draws those of i-MAE.'
        )
    state = read_checkpoint(checkpoint)['state_dict']
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build({**cfg.model, 'init_cfg': None})
    wrong = model.load_state_dict(
        {k.removeprefix('module.'): v for k, v in state.items()}, strict=False
    )
    if wrong.missing_keys or wrong.unexpected_keys:
        raise CheckpointError(
            f'{checkpoint} does not fit {cfg.filename or "the config"}: missing '
            f'{wrong.missing_keys[:5]}, unexpected {wrong.unexpected_keys[:5]}. Choose the config '
            'that the checkpoint was trained with.'
        )
    return model


def images_of_dataset(cfg: Config, num_images: int, split: str | None = None) -> Tensor:
    """Evenly spaced images of a config's training data, without its augmentation.

    Args:
        cfg (Config): A pre-training config.
        num_images (int): How many.
        split (str, optional): Sets the data set's ``split``, where it has one: 'test' shows
            images that pre-training has not seen. Defaults to None.

    Returns:
        Tensor: RGB, uint8, (num_images, 3, H, W) of the model's input size.

    Raises:
        ValueError: The data set has fewer images.
    """
    cfg, _ = resolve(cfg, cuda=False)
    dataset = cfg.train_dataloader.dataset
    dataset = dataset.get('dataset', dataset)
    load = [t for t in dataset.get('pipeline', []) if 'LoadImage' in t['type']]
    dataset = {**dataset, 'pipeline': [], **({'split': split} if split else {})}
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        data = DATASETS.build(dataset)
        load = Compose([TRANSFORMS.build(t) for t in load])
        if num_images > len(data):
            raise ValueError(f'num_images={num_images} of a data set of {len(data)} images.')
        chosen = np.linspace(0, len(data) - 1, num_images).round().astype(int)
        found = [load(data.get_data_info(int(index)))['img'] for index in chosen]
    return _to_input(found, cfg)


def images_of_files(cfg: Config, paths: Sequence[str | Path]) -> Tensor:
    """Image files at the model's input size: short edge resized, centre cropped.

    Raises:
        DataError: There is no such file.
        ValueError: One cannot be read as an image.
    """
    found = []
    for path in paths:
        if not Path(path).is_file():
            raise DataError(f'There is no image at {path}.')
        image = mmcv.imread(str(path))
        if image is None:
            raise ValueError(f'{path} cannot be read as an image.')
        found.append(image)
    return _to_input(found, resolve(cfg, cuda=False)[0])


def _to_input(images_bgr: Sequence[np.ndarray], cfg: Config) -> Tensor:
    size = cfg.model.backbone.get('img_size', 224)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        fit = Compose(
            [
                TRANSFORMS.build(dict(type='ResizeEdge', scale=size, edge='short')),
                TRANSFORMS.build(dict(type='CenterCrop', crop_size=size)),
            ]
        )
        fitted = [
            fit(dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2]))['img']
            for image in images_bgr
        ]
    rgb = np.stack(fitted)[..., ::-1].transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(rgb))


def reconstruction_picture(
    cfg: Config,
    checkpoint: str | Path,
    path: str | Path,
    images: Sequence[str | Path] = (),
    num_images: int = 8,
    split: str | None = None,
    seed: int = 0,
    title: str | None = None,
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
        title (str, optional): Defaults to None: method, mask ratio and epochs.

    Returns:
        Path: The PNG.
    """
    model = load_pretrained_model(cfg, checkpoint)
    pictures = images_of_files(cfg, images) if images else images_of_dataset(cfg, num_images, split)
    reconstruction = reconstruct(model, pictures, seed)
    if title is None:
        title = _title(model, reconstruction, read_checkpoint(checkpoint))
    return draw_reconstruction(reconstruction, path, title)


def _title(model: MAE, reconstruction: Reconstruction, checkpoint: dict) -> str:
    name = 'MixedAE' if isinstance(model, MixedAE) else 'MAE'
    masked = reconstruction.mask_BL.mean().item()
    epochs = checkpoint.get('mixae', {}).get('epochs')
    after = f', after {epochs} epoch{"s" if epochs > 1 else ""}' if epochs else ''
    return f'{name}: {masked:.0%} of each image masked{after}'
