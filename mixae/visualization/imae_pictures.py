"""The pictures of the i-MAE paper: Figs. 1, 3, 4 and 5.

Shape legend: P pairs of images, L patches, V visible patches, N = L + 1 tokens (class token
first), D width, H heads, p values a patch.
"""

import copy
from collections.abc import Mapping, Sequence
from itertools import islice
from textwrap import fill
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.models import MAE
from torch import Tensor, nn

from mixae.derive.resolve import resolve
from mixae.errors import ConfigError
from mixae.models.layers.masking import draw_visible, masks_from_visible
from mixae.models.layers.mixture import mix_pairs
from mixae.models.selfsup.imae import IMAE
from mixae.registry import MODELS

FACTORS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)
MASK_RATIOS = (0.5, 0.6, 0.75)
GREY = 0.55
CELL = 1.0  # inches
COLUMNS = (
    'mixture',
    'visible\npatches',
    'dominant:\nprediction',
    'dominant:\noriginal',
    'subordinate:\nprediction',
    'subordinate:\noriginal',
)


class Cell(NamedTuple):
    """A picture, and the patches (row, column) of ``patch`` pixels to put a white frame around."""

    picture: np.ndarray
    patch: int = 0
    framed: Sequence[tuple[int, int]] = ()


class Painter:
    """Turns what a model sees and predicts into pictures, (P, height, width, 3) in [0, 1].

    Args:
        preprocessor (nn.Module): Whose ``mean`` and ``std`` were taken off the images.
        head (nn.Module): ``MAEPretrainHead``: how images are cut into patches, and whether the
            target was normalised patch by patch.
        show_everywhere (bool): Show the prediction at visible positions too, for a model that
            was trained on all patches. Otherwise they show the input, framed in white.
    """

    def __init__(self, preprocessor: nn.Module, head: nn.Module, show_everywhere: bool) -> None:
        self.mean, self.std = preprocessor.mean, preprocessor.std
        self.head = head
        self.show_everywhere = show_everywhere

    def image(self, images: Tensor) -> np.ndarray:
        """Normalised images, (P, 3, height, width)."""
        rgb = images * self.std.to(images) + self.mean.to(images)
        return _last(rgb / 255).clip(0, 1)

    def visible(self, images: Tensor, mask_PL: Tensor) -> np.ndarray:
        """The images with their masked patches in grey."""
        mask = self._mask(mask_PL)
        return self.image(images) * (1 - mask) + GREY * mask

    def prediction(
        self, pred_PLp: Tensor, target: Tensor, seen: Tensor, mask_PL: Tensor
    ) -> list['Cell']:
        """A prediction of the decoder, as cells with the visible patches to be framed.

        Args:
            pred_PLp (Tensor): For every patch.
            target (Tensor): The images whose patch statistics undo the target's normalisation.
            seen (Tensor): The images that the encoder saw.
            mask_PL (Tensor): 1 = masked.
        """
        if self.head.norm_pix:
            patches_PLp = self.head.patchify(target)
            mean_PL1 = patches_PLp.mean(dim=-1, keepdim=True)
            std_PL1 = (patches_PLp.var(dim=-1, keepdim=True) + 1e-6).sqrt()
            pred_PLp = pred_PLp * std_PL1 + mean_PL1
        picture = self.image(self.head.unpatchify(pred_PLp))
        if self.show_everywhere:
            return [Cell(p) for p in picture]
        mask = self._mask(mask_PL)
        picture = picture * mask + self.image(seen) * (1 - mask)
        side, rows = self.head.patch_size, picture.shape[1] // self.head.patch_size
        return [
            Cell(p, side, [divmod(int(k), rows) for k in (m == 0).nonzero()])
            for p, m in zip(picture, mask_PL, strict=True)
        ]

    def caption(self) -> str:
        """What has to be said about the predictions."""
        shown = (
            'Predictions are shown at all positions.'
            if self.show_everywhere
            else 'White frames: visible positions, which show the input.'
        )
        if not self.head.norm_pix:
            return shown
        return (
            f"{shown} The target's per-patch normalisation is undone with the statistics of the "
            "original's patches: mean and contrast of each patch are given, not predicted."
        )

    def _mask(self, mask_PL: Tensor) -> np.ndarray:
        values = self.head.patch_size**2 * self.head.in_channels
        return _last(self.head.unpatchify(mask_PL.float()[:, :, None].repeat(1, 1, values)))


def _last(images: Tensor) -> np.ndarray:
    return images.detach().float().permute(0, 2, 3, 1).cpu().numpy()


def _cells(pictures: np.ndarray) -> list[Cell]:
    return [Cell(picture) for picture in pictures]


def check_factor(factor: float) -> None:
    """Make sure that a share leaves the subordinate image subordinate.

    Raises:
        ConfigError: Outside [0, 0.5).
    """
    if not 0 <= factor < 0.5:
        raise ConfigError(f"The subordinate image's share {factor} is outside [0, 0.5).")


@torch.no_grad()
def imae_row(
    model: IMAE, painter: Painter, inputs: Tensor, factor: float, mask_ratio: float, seed: int
) -> list[Cell]:
    """One row of :data:`COLUMNS` for each pair, joined: 6 P pictures.

    Args:
        model (IMAE): With both branches.
        painter (Painter): Its painter.
        inputs (Tensor): P pairs, (2P, 3, height, width), the subordinate image of each first.
        factor (float): The subordinate image's share, below 0.5.
        mask_ratio (float): Share of masked patches.
        seed (int): Of the mask.
    """
    check_factor(factor)
    P = len(inputs) // 2
    mixture = mix_pairs(inputs, torch.full((P,), factor, device=inputs.device))
    seeded = torch.Generator().manual_seed(seed)
    ids_PV = draw_visible(P, model.backbone.num_patches, mask_ratio, generator=seeded)
    ids_PV = ids_PV.to(inputs.device)
    mask_PL, restore_PL = masks_from_visible(ids_PV, model.backbone.num_patches)
    preds = model.decode(model.encode(mixture.images, ids_PV), restore_PL)
    columns = [
        _cells(painter.image(mixture.images)),
        _cells(painter.visible(mixture.images, mask_PL)),
    ]
    for branch, source in mixture.sources.items():
        if branch in preds:
            columns.append(painter.prediction(preds[branch], source, mixture.images, mask_PL))
        else:
            columns.append([None] * P)  # this branch is not trained
        columns.append(_cells(painter.image(source)))
    return [column[pair] for pair in range(P) for column in columns]


def factor_grid(
    model: IMAE,
    preprocessor: nn.Module,
    inputs: Tensor,
    factors: Sequence[float] = FACTORS,
    mask_ratio: float = 0.75,
    seed: int = 0,
) -> Figure:
    """Fig. 1: mixture, visible patches and both reconstructions over the subordinate's share."""
    painter = Painter(preprocessor, model.head, model.loss_on == 'all')
    rows = [imae_row(model, painter, inputs, f, mask_ratio, seed) for f in factors]
    return grid(
        rows,
        [f'share {f:g}' for f in factors],
        COLUMNS * (len(inputs) // 2),
        f"i-MAE: reconstructions over the subordinate image's share, mask ratio {mask_ratio:g}",
        painter.caption(),
        block=len(COLUMNS),
    )


def mask_ratio_grid(
    model: IMAE,
    preprocessor: nn.Module,
    inputs: Tensor,
    mask_ratios: Sequence[float] = MASK_RATIOS,
    factor: float = 0.3,
    seed: int = 0,
) -> Figure:
    """Fig. 4: the same over mask ratios; the patches of a higher ratio stay visible in a lower."""
    painter = Painter(preprocessor, model.head, model.loss_on == 'all')
    rows = [imae_row(model, painter, inputs, factor, ratio, seed) for ratio in mask_ratios]
    trained = model.backbone.mask_ratio
    return grid(
        rows,
        [f'mask {ratio:g}' + ('\n(trained)' if ratio == trained else '') for ratio in mask_ratios],
        COLUMNS * (len(inputs) // 2),
        f"i-MAE: reconstructions over mask ratios, subordinate's share {factor:g}",
        painter.caption(),
        block=len(COLUMNS),
    )


@torch.no_grad()
def comparison_grid(
    mae: MAE,
    imaes: Mapping[str, IMAE],
    preprocessor: nn.Module,
    inputs: Tensor,
    factor: float = 0.3,
    mask_ratio: float = 0.75,
    seed: int = 0,
) -> Figure:
    """Fig. 3: MAE on the mixture, MAE on the unmixed image (b), and i-MAEs, one row each.

    Args:
        mae (MAE): The vanilla MAE.
        imaes (Mapping[str, IMAE]): Rows below it by their label.
        preprocessor (nn.Module): Of the images.
        inputs (Tensor): P pairs, the subordinate image of each first.
        factor (float): The subordinate image's share. Defaults to 0.3.
        mask_ratio (float): Defaults to 0.75.
        seed (int): Of the mask, the same in all rows. Defaults to 0.
    """
    check_factor(factor)
    P, L = len(inputs) // 2, mae.backbone.num_patches
    mixture = mix_pairs(inputs, torch.full((P,), factor, device=inputs.device))
    own = mixture.sources['subordinate']
    seeded = torch.Generator().manual_seed(seed)
    ids_PV = draw_visible(P, L, mask_ratio, generator=seeded).to(inputs.device)
    mask_PL, restore_PL = masks_from_visible(ids_PV, L)

    def row(painter: Painter, seen: Tensor, pred_PLp: Tensor) -> list[Cell]:
        columns = (
            _cells(painter.image(seen)),
            _cells(painter.visible(seen, mask_PL)),
            painter.prediction(pred_PLp, own, seen, mask_PL),
            _cells(painter.image(own)),
        )
        return [column[pair] for pair in range(P) for column in columns]

    rows, labels = [], []
    painter = Painter(preprocessor, mae.head, False)
    caption = painter.caption()
    if any(model.loss_on == 'all' for model in imaes.values()):
        caption += ' Without frames: a model that was trained on all patches.'
    for label, seen in (('MAE,\nmixture', mixture.images), ('MAE,\nunmixed', own)):
        pred_PLp = mae.neck(mae.backbone(seen, ids_visible=ids_PV)[0], restore_PL)
        rows.append(row(painter, seen, pred_PLp))
        labels.append(label)
    for label, model in imaes.items():
        pred = model.decode(model.encode(mixture.images, ids_PV), restore_PL)['subordinate']
        rows.append(
            row(Painter(preprocessor, model.head, model.loss_on == 'all'), mixture.images, pred)
        )
        labels.append(label)
    return grid(
        rows,
        labels,
        ('input', 'visible\npatches', 'prediction', 'subordinate:\noriginal') * P,
        f"The subordinate image's reconstruction, its share {factor:g}, mask ratio {mask_ratio:g}",
        caption,
        block=4,
    )


def weights_and_attention(
    models: Mapping[str, nn.Module], preprocessor: nn.Module, images: Tensor, layer: int = -1
) -> Figure:
    """Fig. 5: the encoders' weight distributions, and where their class tokens look.

    Args:
        models (Mapping[str, nn.Module]): Encoders (:class:`MaskedViT`) by label.
        preprocessor (nn.Module): Of the images.
        images (Tensor): A few images, one row each, whole (nothing is masked).
        layer (int): Whose attention is shown, averaged over heads. Defaults to the last.
    """
    rows = len(images)
    columns = 1 + len(models)
    figure = Figure(
        figsize=(5.2 + 1.7 * columns, max(3.6, 1.55 * rows + 0.9)), layout='constrained'
    )
    left, right = figure.subfigures(1, 2, width_ratios=(5.0, 1.7 * columns))
    axis = left.subplots()
    values = {label: matrix_weights(model) for label, model in models.items()}
    limit = max(np.quantile(np.abs(v), 0.9995) for v in values.values())
    for label, v in values.items():
        small = 100 * (np.abs(v) < 0.01).mean()
        axis.hist(
            v,
            bins=np.linspace(-limit, limit, 201),
            density=True,
            histtype='step',
            linewidth=1.4,
            label=f'{label}: std {v.std():.3f}, {small:.0f} % below 0.01',
        )
    axis.set(yscale='log', xlabel="weight (matrices of the encoder's layers)", ylabel='density')
    axis.set_title('Weight distribution', fontsize=10)
    axis.legend(fontsize=8, loc='lower center')  # below the curves
    axes = np.atleast_2d(right.subplots(rows, columns, squeeze=False))
    pictures = Painter(preprocessor, None, True).image(images)
    maps = {label: class_attention(model, images, layer) for label, model in models.items()}
    for i in range(rows):
        axes[i, 0].imshow(pictures[i])
        for j, attention in enumerate(maps.values(), start=1):
            axes[i, j].imshow(attention[i], cmap='viridis', vmin=0)
    for j, label in enumerate(('original', *models)):
        axes[0, j].set_title(label, fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    which = 'last' if layer == -1 else f'{layer}.'
    right.suptitle(
        f"Class token's attention to the patches\n({which} layer, mean over heads, own scale each)",
        fontsize=10,
    )
    return figure


def matrix_weights(encoder: nn.Module) -> np.ndarray:
    """All weights of the linear layers inside an encoder's transformer layers, flat."""
    linears = (m for m in encoder.layers.modules() if isinstance(m, nn.Linear))
    return torch.cat([m.weight.detach().flatten() for m in linears]).float().cpu().numpy()


@torch.no_grad()
def class_attention(encoder: nn.Module, images: Tensor, layer: int = -1) -> np.ndarray:
    """Attention of the class token to every patch in one layer, mean over heads, (P, rows, cols).

    The class token's attention to itself is left out, so a map sums to less than 1.
    """
    wanted = range(encoder.num_layers)[layer]
    found = []

    def attend(attn: nn.Module, x_PND: Tensor, index: int) -> Tensor:
        if index == wanted:
            found.append(attention_weights(attn, x_PND)[:, :, 0, 1:].mean(dim=1))
        return attn(x_PND)

    everything = torch.arange(encoder.num_patches, device=images.device).expand(len(images), -1)
    encoder.encode(encoder.embed_visible(images, everything), attend)
    return found[0].unflatten(1, encoder.patch_resolution).float().cpu().numpy()


def attention_weights(attn: nn.Module, x_PND: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D/H)) of mmpretrain's ``MultiheadAttention``, (P, H, N, N)."""
    P, N, _ = x_PND.shape
    qkv = attn.qkv(x_PND).reshape(P, N, 3, attn.num_heads, attn.head_dims)
    q_PHNd, k_PHNd, _ = qkv.permute(2, 0, 3, 1, 4)
    return (q_PHNd @ k_PHNd.transpose(-1, -2) / attn.head_dims**0.5).softmax(dim=-1)


def grid(
    rows: Sequence[Sequence[Cell | None]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str,
    caption: str,
    block: int,
) -> Figure:
    """Cells in labelled rows and columns; None stays empty, a gap after every ``block`` columns."""
    count = len(column_labels)
    gaps = count // block - 1
    widths: list[float] = []
    for j in range(count):
        widths += [0.25, 1] if j and j % block == 0 else [1]
    width, height = CELL * (count + 0.25 * gaps) + 1.05, CELL * len(rows) + 1.35
    figure = Figure(figsize=(width, height), layout=None)
    axes = figure.subplots(
        len(rows),
        len(widths),
        squeeze=False,
        gridspec_kw=dict(
            width_ratios=widths,
            wspace=0.06,
            hspace=0.06,
            left=1.0 / width,
            right=1 - 0.05 / width,
            top=1 - 0.75 / height,
            bottom=0.55 / height,
        ),
    )
    for axis in axes.flat:
        axis.set_axis_off()
    kept = [j for j, w in enumerate(widths) if w == 1]
    for i, row in enumerate(rows):
        for j, cell in zip(kept, row, strict=True):
            if cell is None:
                continue
            axes[i, j].imshow(cell.picture, interpolation='nearest')
            for y, x in cell.framed:
                corner = (x * cell.patch - 0.5, y * cell.patch - 0.5)
                frame = Rectangle(corner, cell.patch, cell.patch, fill=False, ec='w', lw=0.7)
                axes[i, j].add_patch(frame)
        axes[i, 0].text(
            -0.1,
            0.5,
            row_labels[i],
            transform=axes[i, 0].transAxes,
            ha='right',
            va='center',
            fontsize=9,
        )
    for j, label in zip(kept, column_labels, strict=True):
        axes[0, j].set_title(label, fontsize=8)
    figure.suptitle(title, fontsize=11, y=1 - 0.08 / height, va='top')
    caption = fill(caption, int(13 * width))
    figure.text(0.5, 0.12 / height, caption, ha='center', va='bottom', fontsize=8)
    return figure


def load_pairs(data: Config, pairs: int, seed: int = 0, device: str = 'cpu'):
    """The first pairs of a held-out split, the subordinate image first, and its preprocessor.

    Args:
        data (Config): A config of a frozen-feature protocol; see ``table_4``.
        pairs (int): How many.
        seed (int): Which. Defaults to 0.
        device (str): Where to.

    Returns:
        tuple[Tensor, nn.Module]: Normalised images (2 * pairs, 3, height, width), preprocessor.
    """
    data = data.copy()
    data.pretrained = 'scratch'
    data = resolve(data)[0]
    loader = copy.deepcopy(data.test_dataloader)
    loader.sampler = dict(type='mixae.PairSampler')
    loader.batch_size, loader.num_workers = 2 * pairs, 0
    loader.pop('persistent_workers', None)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        preprocessor = MODELS.build(data.model.data_preprocessor).to(device)
        batch = next(islice(Runner.build_dataloader(loader, seed=seed), 1))
    return preprocessor(batch, False)['inputs'], preprocessor
